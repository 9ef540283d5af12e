"""OpenAI / AITracer comparison: is the traced cost aligned with the bill?"""

from grafana_foundation_sdk.builders import dashboard

from grafana.authoring.aitracer.allocation import allocation
from grafana.authoring.aitracer.answers import answers
from grafana.authoring.aitracer.choices import SOURCE, WINDOW, WORKFLOW
from grafana.authoring.aitracer.each_day import each_day
from grafana.authoring.aitracer.prices import prices
from grafana.authoring.aitracer.reasons import reasons
from grafana.authoring.aitracer.side_by_side import side_by_side
from grafana.authoring.aitracer.untraced import untraced
from grafana.authoring.boards import MODEL, PROJECT, TEAM, Section, build


def aitracer() -> dashboard.Dashboard:
    """Return the dashboard."""
    return build(
        uid="openai-aitracer",
        description="OpenAI's bill beside the traces of the same UTC days: coverage, what is not traced, prices.",
        variables=(SOURCE, WINDOW, PROJECT, MODEL, TEAM, WORKFLOW),
        time_from="now-30d",
        sections=(
            Section(100, "Is the traced cost aligned with the bill?", answers()),
            Section(200, "Day by day", each_day()),
            Section(300, "What is not traced?", untraced()),
            Section(400, "Do traces price tokens as the bill does?", prices()),
            Section(500, "Workflows and teams, side by side", side_by_side()),
            Section(600, "Who shall pay?", allocation()),
            Section(700, "Why do the two sides differ?", reasons()),
        ),
    )
