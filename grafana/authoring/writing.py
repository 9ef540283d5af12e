"""All dashboards, as files."""

from pathlib import Path
from typing import Final

from grafana.authoring.aitracer.board import aitracer
from grafana.authoring.boards import as_json
from grafana.authoring.exporter_health.board import exporter_health
from grafana.authoring.spending.board import spend
from grafana.authoring.usage.board import usage

DASHBOARDS_FOLDER: Final = Path(__file__).parents[1] / "dashboards"


def dashboards() -> dict[str, str]:
    """Return the JSON of every dashboard by file name."""
    boards = {
        "openai-spend": spend(),
        "openai-usage": usage(),
        "openai-aitracer": aitracer(),
        "openai-exporter": exporter_health(),
    }
    return {f"{uid}.json": as_json(board) for uid, board in boards.items()}
