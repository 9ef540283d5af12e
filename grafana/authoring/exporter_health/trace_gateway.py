"""The trace gateway in front of AITracer: does it answer, does AITracer, does it count what it forwards?"""

from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import LineInterpolation

from grafana.authoring import palette
from grafana.authoring.amendments import by_order
from grafana.authoring.exporter_health.choices import HOUR
from grafana.authoring.panels import About, Panel, Query, bars, line, series_property, threshold_lines
from grafana.authoring.statuses import coloured_by_status

_ALL: Final = "Of every trace gateway; does not follow job and instance."
_NO_GATEWAY: Final = "No trace gateway was scraped"
_NO_REQUESTS: Final = "No requests through a trace gateway"
_COPY: Final = "{{job}} {{instance}}"
# One series for each combination of labels, where other families have several.
_SETS: Final = '{family="aitracer_trace_cost_usd_total"}'


def trace_gateway() -> tuple[Panel, ...]:
    """Return the section's panels."""
    return (
        _copies(),
        _requests(),
        _unanswered(),
        _latency(),
        _unread(),
        _label_sets(),
        _in_flight(),
        _counted(),
        _not_again(),
    )


def _about(panel_id: int, title: str, description: str, empty: str) -> About:
    return About(panel_id, title, f"{description} {_ALL}", width=8, empty=empty)


def _copies() -> Panel:
    panel = line(
        _about(
            901,
            "Copies of the trace gateway",
            "1 where Prometheus got a copy's page, 0 where it did not. When a copy ends, what it counted after its "
            "last scrape is lost.",
            _NO_GATEWAY,
        ),
        units.Short,
        [Query("up and on (job, instance) last_over_time(aitracer_gateway_requests_in_flight[1d])", _COPY)],
    )
    return by_order(panel.line_interpolation(LineInterpolation.STEP_AFTER).max(1).decimals(0))


def _requests() -> Panel:
    panel = line(
        _about(
            902,
            "Forwarded requests by status",
            "Requests per minute, by the status that the application got; 499: it left before it had one. 502, 503 and "
            "504 may be the gateway's own, where AITracer did not answer.",
            _NO_REQUESTS,
        ),
        units.RequestsPerMinute,
        [Query("60 * sum by (code) (rate(aitracer_gateway_requests_total[$__rate_interval]))", "{{code}}")],
        filled=80,
        stacked=True,
    )
    # A line would run along the top for codes that did not occur.
    return coloured_by_status(panel).line_width(0)


def _unanswered() -> Panel:
    panel = line(
        _about(
            903,
            "Requests that AITracer fails",
            "Requests per minute that AITracer did not answer, or not to the end, by reason; and those that ended with "
            "429 or 5xx, AITracer's or the gateway's own. The gateway tries nothing again.",
            "None: AITracer answered every request, or there is no trace gateway",
        ),
        units.RequestsPerMinute,
        [
            Query(
                "60 * sum by (reason) (rate(aitracer_gateway_upstream_errors_total[$__rate_interval])) > 0",
                "{{reason}}",
            ),
            Query(
                '60 * sum by (code) (rate(aitracer_gateway_requests_total{code=~"429|5.."}[$__rate_interval])) > 0',
                "{{code}}",
            ),
        ],
        filled=0,
    )
    return by_order(panel)


def _latency() -> Panel:
    def quantile(share: str) -> str:
        buckets = "rate(aitracer_gateway_added_latency_seconds_bucket[$__rate_interval])"
        return f"histogram_quantile({share}, sum by (le) ({buckets}))"

    return line(
        _about(
            904,
            "Latency added",
            "What a request spends in the gateway while it waits neither for AITracer nor for the application: half of "
            "them, all but 5 % and all but 1 % spend at most this. Read from a histogram, so not exact.",
            _NO_REQUESTS,
        ),
        units.Seconds,
        [Query(quantile("0.5"), "half"), Query(quantile("0.95"), "95 %"), Query(quantile("0.99"), "99 %")],
        filled=0,
    )


def _unread() -> Panel:
    unreadable = "sum by (ingest, reason) (increase(aitracer_gateway_unreadable_bodies_total[$__rate_interval]))"
    faults = "sum(increase(aitracer_gateway_counting_failures_total[$__rate_interval]))"
    panel = bars(
        _about(
            905,
            "Bodies not counted",
            "Bodies per hour that AITracer accepted and the gateway could not read, or not all of them, by ingest and "
            "reason; fault: a fault of the gateway. They were forwarded; the comparison with the bill misses them.",
            "None: every accepted trace was read, or there is no trace gateway",
        ),
        units.Short,
        [Query(f"{unreadable} > 0", "{{ingest}} {{reason}}", HOUR), Query(f"{faults} > 0", "fault", HOUR)],
    )
    return by_order(panel)


def _label_sets() -> Panel:
    share = f"aitracer_gateway_series{_SETS} / aitracer_gateway_series_limit{_SETS}"
    panel = line(
        _about(
            906,
            "Series used",
            "Combinations of labels that traces have, as a share of those that they may (trace_gateway.label_sets), by "
            "copy. At 100 % calls with new ones become (other): sums stay exact, the split is lost.",
            _NO_GATEWAY,
        ),
        units.PercentUnit,
        [Query(share, _COPY)],
    )
    return by_order(threshold_lines(panel, ((None, "transparent"), (1.0, palette.LIMIT))))


def _in_flight() -> Panel:
    panel = line(
        _about(
            907,
            "Requests in flight",
            "Requests that are being forwarded at the moment of a scrape, by copy. A copy takes 256 at once.",
            _NO_GATEWAY,
        ),
        units.Short,
        [Query("aitracer_gateway_requests_in_flight", _COPY)],
    )
    return by_order(panel)


def _counted() -> Panel:
    panel = line(
        _about(
            908,
            "Model calls counted",
            "Model calls per minute that traces tell of: ended well, failed, and without a cost though they ended "
            "well. Those of counting clients and of the simulated organization are among them.",
            "No aitracer_trace_… series in this range",
        ),
        units.RequestsPerMinute,
        [
            Query("60 * sum by (status) (rate(aitracer_trace_requests_total[$__rate_interval]))", "{{status}}"),
            Query("60 * sum(rate(aitracer_trace_uncosted_requests_total[$__rate_interval])) > 0", "without cost"),
        ],
        filled=0,
    )
    for name, colour in {"ok": palette.GOOD, "error": palette.BAD, "without cost": palette.WATCH}.items():
        panel = series_property(panel, name, {"color": {"mode": "fixed", "fixedColor": colour}})
    return panel


def _not_again() -> Panel:
    duplicates = "60 * sum by (ingest) (rate(aitracer_gateway_duplicates_total[$__rate_interval])) > 0"
    panel = line(
        _about(
            909,
            "Model calls that came again",
            "Model calls per minute that were not counted a second time, by ingest: applications' retries. A retry "
            "through another copy cannot be seen, and counts twice.",
            "None: nothing came twice through one copy, or there is no trace gateway",
        ),
        units.RequestsPerMinute,
        [Query(duplicates, "{{ingest}}")],
    )
    return by_order(panel)
