"""How OpenAI's API answers: requests, failures, retries, durations."""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana.authoring.amendments import by_order
from grafana.authoring.exporter_health.choices import NO_EXPORTER, chosen
from grafana.authoring.panels import About, Panel, Query, line
from grafana.authoring.statuses import coloured_by_status

_REQUESTS: Final = chosen("openai_exporter_http_requests_total")
_FAILED: Final = chosen("openai_exporter_http_requests_total", 'code!="200"')
_NOT_FAILED: Final = "404 of spend_limits or of an API that the organization does not have means that there is none."


def requests() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (_by_code(), _durations(), _failures(), _retries())


def _by_code() -> Panel:
    panel = line(
        About(
            401,
            "Requests by status code",
            f"Requests to OpenAI's API per minute, retries included; error: no answer came. {_NOT_FAILED}",
            empty=NO_EXPORTER,
        ),
        units.RequestsPerMinute,
        [Query(f"60 * sum by (code) (rate({_REQUESTS}[$__rate_interval]))", "{{code}}")],
        filled=40,
        stacked=True,
    )
    return coloured_by_status(panel)


def _durations() -> Panel:
    buckets = chosen("openai_exporter_http_request_duration_seconds_bucket")

    def quantile(share: str) -> str:
        return f"histogram_quantile({share}, sum by (le) (rate({buckets}[$__rate_interval])))"

    return line(
        About(
            402,
            "Duration of requests",
            "From sending a request to the end of its answer: half of the requests, and all but 5 %, are at least this "
            "fast. Read from a histogram, so not exact.",
            empty="No requests in this range",
        ),
        units.Seconds,
        [Query(quantile("0.5"), "half"), Query(quantile("0.95"), "95 %")],
        filled=0,
    )


def _failures() -> Panel:
    panel = line(
        About(
            403,
            "Answers other than 200",
            f"Requests per minute, by API and status code; error: no answer came. {_NOT_FAILED}",
            empty="None: every answer was 200",
        ),
        units.RequestsPerMinute,
        [Query(f"60 * sum by (api, code) (rate({_FAILED}[$__rate_interval])) > 0", "{{api}} {{code}}")],
        filled=0,
    )
    return by_order(panel)


def _retries() -> Panel:
    retries = chosen("openai_exporter_http_retries_total")
    panel = line(
        About(
            404,
            "Retries",
            "Requests sent again, per minute, by API and by the status code that made it so. 429: OpenAI asks for "
            "fewer.",
            empty="None: nothing had to be sent again",
        ),
        units.RequestsPerMinute,
        [Query(f"60 * sum by (api, code) (rate({retries}[$__rate_interval])) > 0", "{{api}} {{code}}")],
        filled=0,
    )
    return by_order(panel)
