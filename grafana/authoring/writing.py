"""All dashboards, as files."""

from pathlib import Path
from typing import Final

from grafana.authoring.boards import as_json
from grafana.authoring.spending.board import spend

DASHBOARDS_FOLDER: Final = Path(__file__).parents[1] / "dashboards"


def dashboards() -> dict[str, str]:
    """Return the JSON of every dashboard by file name."""
    return {f"{uid}.json": as_json(board) for uid, board in {"openai-spend": spend()}.items()}
