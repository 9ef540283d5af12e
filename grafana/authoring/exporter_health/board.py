"""OpenAI / Exporter: is the data fresh and whole?"""

from grafana_foundation_sdk.builders import dashboard

from grafana.authoring.boards import Section, build
from grafana.authoring.exporter_health.answers import answers
from grafana.authoring.exporter_health.budget import budget
from grafana.authoring.exporter_health.choices import INSTANCE, JOB
from grafana.authoring.exporter_health.completeness import completeness
from grafana.authoring.exporter_health.freshness import freshness
from grafana.authoring.exporter_health.polls import polls
from grafana.authoring.exporter_health.process import process
from grafana.authoring.exporter_health.requests import requests
from grafana.authoring.exporter_health.state import state
from grafana.authoring.exporter_health.trace_gateway import trace_gateway


def exporter_health() -> dashboard.Dashboard:
    """Return the dashboard."""
    return build(
        uid="openai-exporter",
        description="Whether the exporter reads OpenAI's answers, and whether they are fresh and whole.",
        variables=(JOB, INSTANCE),
        time_from="now-6h",
        refresh="1m",
        sections=(
            Section(100, "Is the data fresh and whole?", answers()),
            Section(200, "Does it read?", polls()),
            Section(300, "How fresh is what OpenAI answers?", freshness()),
            Section(400, "How does OpenAI's API answer?", requests()),
            Section(500, "Is the data whole?", completeness()),
            Section(600, "How many series are there?", budget()),
            Section(700, "State and configuration", state()),
            Section(800, "The process and its scrapes", process()),
            Section(900, "Trace gateway, where there is one", trace_gateway()),
        ),
    )
