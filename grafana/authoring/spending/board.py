"""OpenAI / Spend: what it costs, whose it is, whether the month will hold."""

from grafana_foundation_sdk.builders import dashboard

from grafana.authoring.boards import MODEL, PROJECT, TEAM, WORKFLOW, Section, build
from grafana.authoring.spending.bill import line_items, unmapped
from grafana.authoring.spending.choices import BUDGET
from grafana.authoring.spending.month import month
from grafana.authoring.spending.movers import movers
from grafana.authoring.spending.today import today
from grafana.authoring.spending.totals import totals
from grafana.authoring.spending.unit_costs import unit_costs
from grafana.authoring.spending.who import who


def spend() -> dashboard.Dashboard:
    """Return the dashboard."""
    return build(
        uid="openai-spend",
        description="What OpenAI bills, whose it is, and whether the month will hold. UTC; the bill is hours late.",
        variables=(PROJECT, MODEL, TEAM, WORKFLOW, BUDGET),
        time_from="now-30d/d",
        sections=(
            Section(100, "Will the month hold?", month()),
            Section(200, "Is today like other days?", today()),
            Section(300, "Who spends?", who()),
            Section(400, "What changed within a week?", movers()),
            Section(500, "What does a unit cost?", unit_costs()),
            Section(600, "Days, weeks, months", totals()),
            Section(700, "What is on the bill?", line_items()),
            Section(800, "What is nobody's?", unmapped()),
        ),
    )
