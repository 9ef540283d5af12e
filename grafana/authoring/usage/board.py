"""OpenAI / Usage: what is used, by whom, of what, and how near the limits are."""

from grafana_foundation_sdk.builders import dashboard

from grafana.authoring.boards import MODEL, PROJECT, TEAM, WORKFLOW, Section, build
from grafana.authoring.usage.answers import days, week
from grafana.authoring.usage.cache_and_limits import cache, limits
from grafana.authoring.usage.keys_and_users import keys_and_users
from grafana.authoring.usage.requests_and_models import models, requests
from grafana.authoring.usage.tools import images_and_audio, searches_sessions_storage


def usage() -> dashboard.Dashboard:
    """Return the dashboard."""
    return build(
        uid="openai-usage",
        description="What is used of OpenAI's models and tools, by whom, and how near the limits are. UTC; usage is "
        "minutes late.",
        variables=(PROJECT, MODEL, TEAM, WORKFLOW),
        time_from="now-7d",
        sections=(
            Section(100, "How much?", week()),
            Section(200, "Day by day", days()),
            Section(300, "Who asks?", requests()),
            Section(400, "Which models?", models()),
            Section(500, "Does the prompt cache work?", cache()),
            Section(600, "What is in the way?", limits()),
            Section(700, "Which keys, which people?", keys_and_users()),
            Section(800, "Images and audio", images_and_audio(), collapsed=True),
            Section(900, "Searches, sessions, storage", searches_sessions_storage(), collapsed=True),
        ),
    )
