"""The configuration file: one YAML document, every key optional; whatever is not understood is refused, all at once."""

import re
import reprlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)

from exporter.logs import redact
from exporter.metrics.catalogue import OPT_IN_LABELS
from exporter.openai_api.connection import checked_base_url

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
# Ten digits are three centuries in seconds, and more would overflow.
_DURATION: Final = re.compile(
    "".join(rf"(?:([0-9]{{1,{digits}}}){unit})?" for unit, digits in zip(_UNITS, (5, 7, 9, 10), strict=True))
)
_LARGEST_NUMBER_BITS: Final = 64


class ConfigurationError(Exception):
    """The configuration cannot be used.

    Attributes:
        mistakes: one line each: where, what, and what would be right.
    """

    def __init__(self, source: str, mistakes: list[str]) -> None:
        # A key may have been pasted in the wrong place, even as the name of a file.
        self.mistakes = [" ".join(redact(mistake).split()) for mistake in mistakes]
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(f"{redact(source)}: {count}\n" + "\n".join(f"  {mistake}" for mistake in self.mistakes))


def parse_duration(text: object) -> timedelta:
    """Read Prometheus' spelling of a duration, such as 90s, 15m or 1d12h.

    Raises:
        ValueError: it is none, or is zero.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    seconds = (
        sum(int(digits) * unit for digits, unit in zip(match.groups("0"), _UNITS.values(), strict=True)) if match else 0
    )
    if not seconds:
        raise ValueError("a duration such as 90s, 15m, 1h30m or 3d is needed")
    return timedelta(seconds=seconds)


def render_duration(duration: timedelta) -> str:
    """Spell a duration the way `parse_duration` reads it."""
    left = int(duration.total_seconds())
    parts = []
    for letter, unit in _UNITS.items():
        amount, left = divmod(left, unit)
        if amount:
            parts.append(f"{amount}{letter}")
    return "".join(parts)


def _at_most_a_day(duration: timedelta) -> timedelta:
    if duration > timedelta(days=1):
        raise ValueError("at most 1d is allowed")
    return duration


def _whole_days(duration: timedelta) -> timedelta:
    if duration % timedelta(days=1) or not timedelta(days=1) <= duration <= timedelta(days=30):
        raise ValueError("whole days from 1d to 30d are needed")
    return duration


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(render_duration)]
Interval = Annotated[Duration, AfterValidator(_at_most_a_day)]
Days = Annotated[Duration, AfterValidator(_whole_days)]


class _Section(BaseModel):
    # Input stays out of what pydantic says, which a traceback would show: it may be a secret in the wrong place.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class OpenAI(_Section):
    """Where the API is, and where its key is read from.

    Attributes:
        base_url: None: `OPENAI_BASE_URL`, else OpenAI's own.
        admin_key_file: read again when it changes. None: `OPENAI_ADMIN_KEY`.
    """

    base_url: Annotated[str, AfterValidator(checked_base_url)] | None = None
    admin_key_file: Path | None = None


class Polling(_Section):
    """How often the APIs are asked, and how many closed UTC days are read again each time."""

    usage_interval: Interval = Field("1m")  # type: ignore[assignment]  # defaults are spelled as users spell them
    costs_interval: Interval = Field("15m")  # type: ignore[assignment]  # the same
    directory_interval: Interval = Field("30m")  # type: ignore[assignment]  # the same
    usage_revision_window: Days = Field("3d")  # type: ignore[assignment]  # the same
    costs_revision_window: Days = Field("3d")  # type: ignore[assignment]  # the same


class Labels(_Section):
    """Opt-in labels. Each multiplies the number of series."""

    api_key: bool = False
    user: bool = False
    batch: bool = False
    service_tier: bool = False
    api_source: bool = False
    vector_store: bool = False

    @property
    def switched_on(self) -> frozenset[str]:
        """The names that are switched on."""
        return frozenset(name for name in OPT_IN_LABELS if getattr(self, name))


class Limits(_Section):
    """Bounds on what is exposed."""

    series_per_family: int = Field(20_000, ge=1, le=1_000_000, strict=True)


class Configuration(_Section):
    """The whole file.

    Attributes:
        scrape_interval: how often Prometheus scrapes: a new series stands at 0 for two of these.
    """

    openai: OpenAI = OpenAI()
    polling: Polling = Polling()
    labels: Labels = Labels()
    limits: Limits = Limits()
    scrape_interval: Interval = Field("1m")  # type: ignore[assignment]  # as above


def load_configuration(path: Path | None) -> Configuration:
    """Read the file; without one every default holds.

    Raises:
        ConfigurationError: naming the file and every mistake in it.
    """
    if path is None:
        return Configuration()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(str(path), [f"the file cannot be read: {reason}"]) from error
    return parse_configuration(text, str(path))


def parse_configuration(text: str, source: str) -> Configuration:
    """Read a configuration from YAML text; `source` names it in errors.

    Raises:
        ConfigurationError: naming every mistake.
    """
    try:
        # A SafeLoader that also refuses a key given twice.
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigurationError(source, [f"{place}{error.problem or 'this is not YAML'}"]) from error
    except Exception as error:
        # PyYAML lets KeyError, AttributeError and more out of a wrong !!tag.
        raise ConfigurationError(source, [f"this is not YAML: {str(error) or type(error).__name__}"]) from error
    if document is None:
        return Configuration()
    if not isinstance(document, dict):
        raise ConfigurationError(source, ["the document must be a mapping of sections such as polling or labels"])
    try:
        return Configuration.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(source, [_explain(mistake) for mistake in error.errors()]) from error


def render_configuration(configuration: Configuration, base_url: str) -> str:
    """Return the configuration in force as YAML. It holds no secret: the key is only ever named by its file."""
    document = configuration.model_dump(mode="json")
    document["openai"]["base_url"] = base_url
    return yaml.safe_dump(document, sort_keys=False)


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen = set()
        for key_node, _ in node.value:
            # What is no scalar is refused as a key further down.
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            if key_node.value in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} is given twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _explain(mistake: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "extra_forbidden":
        return f"{place}: this key is not known{_known_keys(mistake['loc'][:-1])}"
    message = str(mistake["msg"]).removeprefix("Value error, ")
    if not place:
        return message
    # What stands under openai may be, or hold, a secret in the wrong place.
    given = "" if mistake["loc"][0] == "openai" else f", not {_shown(mistake['input'])}"
    return f"{place}: {message[0].lower()}{message[1:]}{given}"


def _shown(value: object) -> str:
    # Never what a list holds: a few aliases in YAML unfold to gigabytes.
    if isinstance(value, str):
        return reprlib.repr(redact(value))
    if isinstance(value, int) and value.bit_length() > _LARGEST_NUMBER_BITS:
        return "such a large number"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _known_keys(place: tuple[str, ...]) -> str:
    model: type[BaseModel] = Configuration
    for part in place:
        field = model.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return ""
        model = field.annotation
    return f"; known here: {', '.join(model.model_fields)}"
