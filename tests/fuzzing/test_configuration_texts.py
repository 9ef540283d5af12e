"""Any text is a configuration that can be shown and read again, or a list of mistakes; never anything else."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.budgets import scope
from exporter.configuration.durations import parse_duration, render_duration
from exporter.configuration.loading import ConfigurationError, parse_configuration, render_configuration
from exporter.configuration.sections import Configuration
from exporter.metrics.info_gauges import workflow_info
from exporter.metrics.rendering import render_samples
from exporter.web.web_configuration import parse_web_configuration
from tests.fuzzing.mutations import any_texts, damaged, documents, spelled

SOURCE = "exporter.yml"
EXPORTER: dict[str, Any] = {
    "openai": {"base_url": "https://api.example/v1", "admin_key_file": "/run/secrets/key"},
    "polling": {"usage_interval": "1m", "costs_interval": "15m", "usage_revision_window": "3d"},
    "labels": {"api_key": True, "service_tier": False},
    "directory": {"rate_limits": True},
    "limits": {"series_per_family": 20_000},
    "trace_gateway": {"action_group_keys": ["actionGroup"], "label_sets": 1_000},
    "scrape_interval": "30s",
    "workflows": [
        {
            "workflow": "bot",
            "team": "care",
            "business_unit": "retail",
            "action_group": "x",
            "match": {"project": "b.*"},
        },
        {"workflow": "search", "team": "platform", "match": {"api_key": "search-.*", "model": "gpt-(4|5).*"}},
    ],
    "budgets": [
        {"budget": "everything", "limit_usd": 10_000},
        {"budget": "care", "limit_usd": "0.5", "match": {"team": "care"}},
    ],
    "prices": {"gpt-6-astra": {"input": 1.25e-6, "output": "1e-5", "audio": {"input": 0.1}}},
}
HASH = "$2y$10$abcdefghijklmnopqrstuuxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
WEB: dict[str, Any] = {
    "tls_server_config": {
        "cert_file": "a.pem",
        "key_file": "a.key",
        "client_ca_file": "ca.pem",
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_allowed_sans": ["a.example"],
        "min_version": "TLS12",
        "cipher_suites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        "curve_preferences": ["X25519"],
    },
    "http_server_config": {"http2": False, "headers": {"X-Frame-Options": "deny"}},
    "basic_auth_users": {"prometheus": HASH},
    "rate_limit": None,
}

# What only YAML has.
PIECES = (
    *(
        "\t",
        "\ufeff",
        "\n",
        "\n  ",
        "---\n",
        "...\n",
        "- ",
        "? ",
        ": ",
        "#",
        "|",
        ">",
        "%YAML 1.1\n",
        "{",
        "}",
        "[",
        "]",
    ),
    *("&a ", "*a", "<<: *a", "<<: [*a, *a]", "&a [*a]", "&a {x: *a}", "<<: {polling: {}}"),
    *("!!binary ", "!!set ", "!!omap ", "!!timestamp ", "!!python/name:os.system ", "!!int ", "!!float ", "!x ", "!<"),
    *("2026-02-30", "2026-11-21", "2026-11-21T00:00:00+99:99", "12:30:45", "190:20:30.15", ".inf", "-.INF", ".nan"),
    *("0x_", "0b", "0o17", "017", "1_000", "1e5", "1.e+5", "9" * 5_000, "yes", "~", "=", "<<"),
    *(r'"\ud800"', r'"\x00"', r'"\e[2J"', r'"\N"', r'"\U00110000"', r'"\U0001f600"', "'", '"'),
    *(
        "workflows: ",
        "budgets: ",
        "limit_usd: ",
        "match: {model: '(a'}",
        "match: {model: 'a{99999999999}'}",
        "polling:",
    ),
)


def as_yaml(document: object, *, flow: bool) -> str:
    """Spell a document as JSON, which YAML contains but for its escapes, or with its sections as a block."""
    if flow or not isinstance(document, dict):
        return spelled(document)
    return "".join(f"{spelled(key)}: {spelled(value)}\n" for key, value in document.items())


@st.composite
def yaml_texts(draw: st.DrawFn, original: dict[str, Any]) -> str:
    text = as_yaml(draw(documents([original], most_changes=5)), flow=draw(st.booleans()))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(PIECES) | any_texts) + text[place + draw(st.integers(0, 3)) :]
    return text


def check_refusal(error: ConfigurationError) -> None:
    assert error.mistakes
    assert all(mistake.isprintable() for mistake in error.mistakes)
    assert str(error).count("\n") == len(error.mistakes)


@settings(max_examples=70)
@given(yaml_texts(EXPORTER) | st.lists(st.sampled_from(PIECES) | any_texts).map("".join))
def test_any_text_is_a_configuration_that_can_be_shown_and_read_again_or_mistakes(text: str) -> None:
    try:
        configuration = parse_configuration(text, SOURCE)
    except ConfigurationError as error:
        check_refusal(error)
        return
    assert isinstance(configuration, Configuration)
    base_url = configuration.openai.base_url or "https://api.example/v1"
    shown = render_configuration(configuration, base_url)
    again = parse_configuration(shown, SOURCE)
    assert render_configuration(again, base_url) == shown
    assert (again.workflows, again.budgets, again.prices) == (
        configuration.workflows,
        configuration.budgets,
        configuration.prices,
    )
    # Both stand on the page.
    render_samples(workflow_info(configuration.workflows)).encode()
    "".join(map(scope, configuration.budgets)).encode()


@settings(max_examples=60)
@given(damaged(yaml_texts(WEB).map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_any_bytes_are_a_web_configuration_or_mistakes(content: bytes) -> None:
    try:
        configuration = parse_web_configuration(content, Path("web.yml"))
    except ConfigurationError as error:
        check_refusal(error)
        return
    for name in configuration.users:
        assert name.encode().decode().isprintable()
    for name, value in configuration.headers.items():
        assert (name + value).isascii()
        assert (name + value).isprintable()


@settings(max_examples=150)
@given(st.text("0123456789dhms", max_size=14) | any_texts | st.none() | st.integers() | st.floats())
def test_anything_is_a_duration_that_is_spelled_again_or_none(value: object) -> None:
    try:
        duration = parse_duration(value)
    except ValueError:
        return
    assert duration > timedelta()
    assert parse_duration(render_duration(duration)) == duration
