from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.exposition import generate_latest

README = Path(__file__).parents[2] / "README.md"


def test_the_counting_client_of_the_readme_counts_under_the_names_and_labels_of_the_gateway() -> None:
    text = README.read_text().partition("<!-- counting client: run by the tests -->")[2]
    source = text.partition("```python\n")[2].partition("```")[0]
    defined: dict[str, object] = {}
    exec(compile(source, str(README), "exec"), defined)  # noqa: S102 - the project's own words
    collectors = [defined[name] for name in ("TOKENS", "COST", "REQUESTS")]
    try:
        count_trace = defined["count_trace"]
        assert callable(count_trace)
        metrics = {"promptTokens": 120, "completionTokens": 30, "estimatedCostUsd": 0.25}
        count_trace({"actionName": "support", "model": "gpt-6", "metrics": metrics}, action_group="care")
        count_trace({"actionName": "support", "model": "gpt-6", "status": "failed"}, action_group="care")
        labels = {
            "workflow": "support",
            "action_group": "care",
            "environment": "dev",
            "provider": "openai",
            "model": "gpt-6",
            "project_id": "",
        }

        def counted(name: str, **others: str) -> float | None:
            return REGISTRY.get_sample_value(name, {**labels, **others})

        assert counted("aitracer_trace_tokens_total", token_type="input") == 120
        assert counted("aitracer_trace_tokens_total", token_type="output") == 30
        assert counted("aitracer_trace_cost_usd_total") == 0.25
        assert counted("aitracer_trace_requests_total", status="ok") == 1
        assert counted("aitracer_trace_requests_total", status="error") == 1
        assert b"aitracer_trace" in generate_latest()
    finally:
        for collector in collectors:
            REGISTRY.unregister(collector)  # type: ignore[arg-type]  # counters, as the text above says
