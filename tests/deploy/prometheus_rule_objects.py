"""The PrometheusRule objects of deploy/kubernetes/rules, made from Prometheus' rule files with all their comments."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.deploy.rule_files import ADAPTERS, PROMETHEUS, RULES

ROOT: Final = PROMETHEUS.parents[1]
FOLDER: Final = ROOT / "deploy" / "kubernetes" / "rules"
DASHBOARDS: Final = ROOT / "grafana" / "dashboards"

_MADE: Final = "# Made from {source} by `make golden`. Change that, not this.\n"
_KUSTOMIZATION: Final = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\n"
_OBJECT: Final = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {name}
  labels:
    app.kubernetes.io/name: openai-usage-exporter
    app.kubernetes.io/component: rules
spec:
"""


def object_name(rules: Path) -> str:
    """Return the name of the object that holds this rule file."""
    adapter = "adapter-" if rules in ADAPTERS else ""
    return f"openai-{adapter}{rules.stem.replace('_', '-')}"


def generated_files() -> Iterator[tuple[Path, str]]:
    """Yield every file that `make golden` writes for kustomize, with what must be in it."""
    for rules in RULES:
        yield FOLDER / f"{rules.stem.replace('_', '-')}.yaml", _prometheus_rule(rules)
    yield FOLDER / "kustomization.yaml", _rules_kustomization()
    for adapter in ADAPTERS:
        folder = FOLDER / "adapters" / adapter.stem
        yield folder / "prometheus-rule.yaml", _prometheus_rule(adapter)
        yield folder / "kustomization.yaml", _adapter_kustomization(adapter)
    yield DASHBOARDS / "kustomization.yaml", _dashboards_kustomization(sorted(DASHBOARDS.glob("*.json")))


def _prometheus_rule(rules: Path) -> str:
    # Indented as text, not parsed and written again: comments, anchors and line breaks stay as they are.
    lines = rules.read_text(encoding="utf-8").splitlines()
    body = "".join(f"  {line}\n" if line else "\n" for line in lines)
    source = rules.relative_to(ROOT)
    return _MADE.format(source=source) + _OBJECT.format(name=object_name(rules)) + body


def _rules_kustomization() -> str:
    listed = "".join(f"  - {rules.stem.replace('_', '-')}.yaml\n" for rules in RULES)
    return (
        "# The rules and alerts, one PrometheusRule for each rule file: once per Prometheus, however many exporters\n"
        "# it scrapes. To compare the bill with traces, add the one of adapters/ that fits.\n"
        + _MADE.format(source=f"the files in {RULES[0].parent.relative_to(ROOT)}")
        + _KUSTOMIZATION
        + f"resources:\n{listed}"
    )


def _adapter_kustomization(adapter: Path) -> str:
    return _MADE.format(source=adapter.relative_to(ROOT)) + _KUSTOMIZATION + "resources:\n  - prometheus-rule.yaml\n"


def _dashboards_kustomization(dashboards: list[Path]) -> str:
    listed = "".join(f"  - name: grafana-{dashboard.stem}\n    files: [{dashboard.name}]\n" for dashboard in dashboards)
    return (
        "# The dashboards as ConfigMaps, with the label by which Grafana's sidecar finds them.\n"
        + _MADE.format(source="the dashboards in this folder")
        + _KUSTOMIZATION
        + "generatorOptions:\n"
        "  # The sidecar follows what changes; a new name at every change would only leave old ones behind.\n"
        "  disableNameSuffixHash: true\n"
        '  labels: {grafana_dashboard: "1", app.kubernetes.io/name: openai-usage-exporter}\n'
        "  # The folder in Grafana, where the sidecar's folderAnnotation is set to grafana_folder.\n"
        "  annotations: {grafana_folder: OpenAI}\n"
        f"\nconfigMapGenerator:\n{listed}"
    )
