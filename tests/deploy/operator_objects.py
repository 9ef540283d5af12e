"""The Prometheus operator's ServiceMonitor and PrometheusRule, as far as they are used here, refusing all else.

Names, types and patterns are those of its custom resource definitions, `monitoring.coreos.com/v1`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

_UNITS = "".join(f"(([0-9]+){unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms"))
Duration = Annotated[StrictStr, Field(pattern=rf"^(0|{_UNITS})$", min_length=1)]
Texts = dict[StrictStr, StrictStr]


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Metadata(_Object):
    """What every object carries."""

    name: StrictStr
    namespace: StrictStr = ""
    labels: Texts = {}
    annotations: Texts = {}


class Rule(_Object):
    """Either recording or alerting."""

    record: StrictStr | None = None
    alert: StrictStr | None = None
    expr: StrictInt | StrictStr
    for_: Annotated[Duration | None, Field(alias="for")] = None
    keep_firing_for: Duration | None = None
    labels: Texts = {}
    annotations: Texts = {}


class RuleGroup(_Object):
    """Rules that are evaluated one after the other."""

    name: Annotated[StrictStr, Field(min_length=1)]
    interval: Duration | None = None
    limit: StrictInt | None = None
    query_offset: Duration | None = None
    rules: list[Rule]


class RuleGroups(_Object):
    """A rule file."""

    groups: list[RuleGroup]


class PrometheusRule(_Object):
    """Rules for the Prometheus servers that select it."""

    api_version: Annotated[Literal["monitoring.coreos.com/v1"], Field(alias="apiVersion")]
    kind: Literal["PrometheusRule"]
    metadata: Metadata
    spec: RuleGroups


class SecretKey(_Object):
    """One key of a Secret in the monitor's namespace."""

    name: StrictStr
    key: StrictStr
    optional: StrictBool = False


class SecretOrConfigMap(_Object):
    """A certificate's place."""

    secret: SecretKey | None = None
    config_map: Annotated[SecretKey | None, Field(alias="configMap")] = None


class ScrapeTLS(_Object):
    """How the target proves who it is."""

    server_name: Annotated[StrictStr | None, Field(alias="serverName")] = None
    ca: SecretOrConfigMap | None = None
    cert: SecretOrConfigMap | None = None
    key_secret: Annotated[SecretKey | None, Field(alias="keySecret")] = None
    insecure_skip_verify: Annotated[StrictBool, Field(alias="insecureSkipVerify")] = False
    min_version: Annotated[Literal["TLS12", "TLS13"] | None, Field(alias="minVersion")] = None
    max_version: Annotated[Literal["TLS12", "TLS13"] | None, Field(alias="maxVersion")] = None


class BasicAuth(_Object):
    """A name and a password."""

    username: SecretKey
    password: SecretKey


class Relabeling(_Object):
    """One relabel_config."""

    source_labels: Annotated[list[StrictStr], Field(alias="sourceLabels")] = []
    separator: StrictStr | None = None
    regex: StrictStr | None = None
    target_label: Annotated[StrictStr | None, Field(alias="targetLabel")] = None
    replacement: StrictStr | None = None
    action: Literal["replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep"] | None = None


class Endpoint(_Object):
    """A port of the selected Services."""

    port: StrictStr
    path: StrictStr | None = None
    scheme: Literal["http", "https"] | None = None
    interval: Duration | None = None
    scrape_timeout: Annotated[Duration | None, Field(alias="scrapeTimeout")] = None
    tls_config: Annotated[ScrapeTLS | None, Field(alias="tlsConfig")] = None
    basic_auth: Annotated[BasicAuth | None, Field(alias="basicAuth")] = None
    relabelings: list[Relabeling] = []
    metric_relabelings: Annotated[list[Relabeling], Field(alias="metricRelabelings")] = []


class LabelSelector(_Object):
    """By labels alone."""

    match_labels: Annotated[Texts, Field(alias="matchLabels", min_length=1)]


class ServiceMonitorSpecification(_Object):
    """Which Services are scraped, and how."""

    selector: LabelSelector
    endpoints: Annotated[list[Endpoint], Field(min_length=1)]
    job_label: Annotated[StrictStr | None, Field(alias="jobLabel")] = None
    target_labels: Annotated[list[StrictStr], Field(alias="targetLabels")] = []


class ServiceMonitor(_Object):
    """Targets for the Prometheus servers that select it."""

    api_version: Annotated[Literal["monitoring.coreos.com/v1"], Field(alias="apiVersion")]
    kind: Literal["ServiceMonitor"]
    metadata: Metadata
    spec: ServiceMonitorSpecification
