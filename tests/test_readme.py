"""The README's tables cannot drift: they are made from the code."""

import re
from pathlib import Path

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from exporter.configuration.loading import render_configuration
from exporter.configuration.sections import Configuration
from exporter.metrics.catalogue import FAMILIES, Clock

README = Path(__file__).parent.parent / "README.md"

MEANINGS = {
    "openai.base_url": "where the API is; unset: `OPENAI_BASE_URL`, else OpenAI's own",
    "openai.admin_key_file": "file with the admin key; unset: `OPENAI_ADMIN_KEY`",
    "polling.usage_interval": "how often each usage endpoint is polled while it moves",
    "polling.usage_idle_interval": "the longest wait for one of which nothing is used; `5m` where there is anything",
    "polling.costs_interval": "how often costs are polled",
    "polling.directory_interval": "how often projects, and whatever else of the directory is wanted, are read",
    "polling.usage_revision_window": "closed days of usage that each poll reads again, `1d` to `30d`",
    "polling.costs_revision_window": "closed days of costs that each poll reads again, `1d` to `30d`",
    "polling.requests_per_hour": "the most requests an hour may have, retries included; unset: no limit",
    "labels.api_key": "labels `api_key_id` and `api_key`",
    "labels.user": "label `user_id`",
    "labels.batch": "label `batch`",
    "labels.service_tier": "label `service_tier`",
    "labels.api_source": "label `api_source`",
    "labels.vector_store": "label `vector_store_id`",
    "directory.spend_limits": "OpenAI's own spend limits, and whether they are enforced",
    "directory.rate_limits": "OpenAI's rate limits by project and model",
    "directory.api_keys": "who owns each API key, when it was last used, when it expires",
    "directory.user_emails": "label `email` of `openai_user_info`; personal data",
    "limits.series_per_family": "counter series a family may have before new ones become `(other)`",
    "trace_gateway.action_group_keys": "keys of metadata that say a trace's action group, the first one set wins",
    "trace_gateway.project_keys": "keys of metadata that say a trace's OpenAI project",
    "trace_gateway.label_sets": "combinations of labels that traces may have before new ones become `(other)`",
    "scrape_interval": "how often Prometheus scrapes; a new series stands at 0 for two of these",
    "workflows": "rules that name the workflow of each row, see below",
    "budgets": "limits of US dollars per calendar month, see below",
    "prices": "US dollars per token of models that are not on the bill yet, see below",
}


def metrics_table() -> str:
    clocks = {Clock.ARRIVAL: "arrival", Clock.EVENT: "event", Clock.NONE: ""}
    rows = [
        f"| `{family.name}` | {family.kind} | {clocks[family.clock]} | {', '.join(family.labels)} | {family.help} |"
        for family in FAMILIES
    ]
    return "\n".join(["| metric | type | clock | labels | meaning |", "|---|---|---|---|---|", *rows])


def configuration_table() -> str:
    rows = [f"| `{key}` | `{_spelled(field)}` | {MEANINGS[key]} |" for key, field in _keys(Configuration, "")]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def _keys(model: type[BaseModel], prefix: str) -> list[tuple[str, FieldInfo]]:
    keys: list[tuple[str, FieldInfo]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _keys(field.annotation, f"{prefix}{name}.")
        else:
            keys.append((prefix + name, field))
    return keys


def _spelled(field: FieldInfo) -> str:
    if isinstance(field.default, tuple):
        return f"[{', '.join(field.default)}]"
    if field.default_factory is dict:
        return "{}"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return "unset" if field.default is None else str(field.default)


def test_the_golden_tables_of_the_readme_say_what_the_code_says(*, update_golden: bool) -> None:
    text = README.read_text(encoding="utf-8")
    for name, table in (("metrics", metrics_table()), ("configuration", configuration_table())):
        section = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
        assert section.search(text), name
        assert "\\" not in table
        text = section.sub(rf"\1\n{table}\n\n\2", text)
    if update_golden:
        README.write_text(text, encoding="utf-8")
    assert README.read_text(encoding="utf-8") == text


def test_every_configuration_key_is_explained_and_none_that_is_not_there() -> None:
    assert [key for key, _ in _keys(Configuration, "")] == list(MEANINGS)


def test_the_defaults_are_those_of_an_empty_file() -> None:
    shown = yaml.safe_load(render_configuration(Configuration(), "https://api.openai.com/v1"))
    for key, field in _keys(Configuration, ""):
        if field.default is not None:
            section, _, name = key.rpartition(".")
            assert (shown[section] if section else shown)[name] == yaml.safe_load(_spelled(field)), key


def test_every_metric_and_label_in_the_readmes_examples_exists() -> None:
    text = README.read_text(encoding="utf-8")
    known = {family.name for family in FAMILIES} | {"openai_cost_eur_total"}
    named = set(re.findall(r"\b(openai_[a-z_]+[a-z])\b(?!/)", text))
    assert named <= known
    examples = re.findall(r"(openai_[a-z_]+)\{([^}]*)\}", text)
    assert len(examples) > 4
    labels = {family.name: set(family.labels) for family in FAMILIES}
    for family, selector in examples:
        assert set(re.findall(r"([a-z_]+)=~?\"", selector)) <= labels[family], family
