"""What is not counted in tokens: images, audio, searches, sessions and storage."""

from grafana_foundation_sdk.models import units

from grafana.authoring.amendments import by_order
from grafana.authoring.days import END, PROJECT_CHOSEN
from grafana.authoring.panels import About, Panel, Query, legend_table, line
from grafana.authoring.usage.choices import (
    BY_HOUR,
    MOST,
    ONE_HOUR,
    WORKFLOW_CHOSEN,
    by_project,
    hourly,
    hourly_by_project,
)
from grafana.authoring.usage.hours import hours

_NO_MODEL = " OpenAI names no model: follows project, team and workflow alone."


def images_and_audio() -> tuple[Panel, ...]:
    """Return the panels about images and audio."""
    images = "openai_usage_images_total"
    return (
        by_order(
            hours(
                About(
                    801,
                    "Images per hour by size",
                    f"{BY_HOUR} Images made or edited, by width and height in pixels.",
                    height=9,
                    empty="No images in this range",
                ),
                [hourly(images, "size")],
            )
        ),
        by_order(
            hours(
                About(
                    802,
                    "Images per hour by model",
                    f"{BY_HOUR} Images made or edited, by the model as OpenAI spells it.",
                    height=9,
                    empty="No images in this range",
                ),
                [hourly(images, "model")],
            )
        ),
        by_order(
            hours(
                About(
                    803,
                    "Speech characters per hour",
                    f"{BY_HOUR} Characters turned into speech, by model.",
                    height=9,
                    empty="Nothing turned into speech in this range",
                ),
                [hourly("openai_usage_speech_characters_total", "model")],
            )
        ),
        by_order(
            hours(
                About(
                    804,
                    "Audio transcribed per hour",
                    f"{BY_HOUR} Hours of audio that were transcribed, by model. More than one in an hour is many at "
                    "once.",
                    height=9,
                    empty="Nothing transcribed in this range",
                ),
                [hourly("openai_usage_transcription_seconds_total", "model", over=3_600)],
                "suffix: h",
            )
        ),
    )


def searches_sessions_storage() -> tuple[Panel, ...]:
    """Return the panels about tools and storage."""
    return (
        by_order(
            hours(
                About(
                    901,
                    "Web searches per hour by context",
                    f"{BY_HOUR} Searches by how much of the web they hand to the model: the context level.",
                    height=9,
                    empty="No web searches in this range",
                ),
                [hourly("openai_usage_web_search_calls_total", "context_level")],
            )
        ),
        hours(
            About(
                902,
                "File searches per hour by project",
                BY_HOUR + _NO_MODEL,
                height=9,
                empty="No file searches in this range",
            ),
            hourly_by_project("openai_usage_file_search_calls_total"),
        ),
        hours(
            About(
                903,
                "Code sessions per hour by project",
                f"{BY_HOUR} Sessions of the code interpreter.{_NO_MODEL}",
                height=9,
                empty="No code interpreter sessions in this range",
            ),
            hourly_by_project("openai_usage_code_interpreter_sessions_total"),
        ),
        _storage(),
    )


def _storage() -> Panel:
    series = f"openai_usage_vector_store_bytes{{{WORKFLOW_CHOSEN}}}"
    stored = f"sum by (project_id) ({series} {PROJECT_CHOSEN})"
    most = f"topk({MOST}, sum by (project_id) ({series} @ {END} {PROJECT_CHOSEN}))"
    return legend_table(
        line(
            About(
                904,
                "Vector stores by project",
                "Bytes held, by project: the newest day's level (event time). Storage is billed by the "
                f"day.{_NO_MODEL}",
                height=9,
                empty="No vector stores",
            ),
            units.BytesIEC,
            [
                Query(by_project(f"{stored} and on (project_id) {most}"), "{{project}}", ONE_HOUR),
                Query(f"sum({stored} unless on (project_id) {most})", "Other", ONE_HOUR),
            ],
            filled=40,
            stacked=True,
        ),
        "lastNotNull",
    )
