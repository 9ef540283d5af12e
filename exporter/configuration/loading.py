"""The configuration file: one YAML document, every key optional; whatever is not understood is refused, all at once."""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

import yaml
from pydantic import BaseModel, ValidationError

from exporter.configuration.consistency import contradictions
from exporter.configuration.sections import Configuration
from exporter.logs import redact

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"

_LARGEST_NUMBER_BITS: Final = 64
_MERGE: Final = "tag:yaml.org,2002:merge"
_DEEPEST: Final = 50
_MOST_MERGED_KEYS: Final = 100_000


class ConfigurationError(Exception):
    """The configuration cannot be used.

    Attributes:
        mistakes: one line each: where, what, and what would be right.
    """

    def __init__(self, source: str, mistakes: list[str]) -> None:
        # A key may have been pasted in the wrong place, even as the name of a file.
        self.mistakes = [_readable(" ".join(redact(mistake).split())) for mistake in mistakes]
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = "\n".join(f"  {mistake}" for mistake in self.mistakes)
        super().__init__(f"{_readable(redact(source))}: {count}\n{lines}")


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
    document = yaml_document(text, source)
    if document is None:
        return Configuration()
    if not isinstance(document, dict):
        raise ConfigurationError(source, ["the document must be a mapping of sections such as polling or labels"])
    try:
        configuration = Configuration.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(source, [_explain(mistake) for mistake in error.errors()]) from error
    mistakes = contradictions(configuration)
    if mistakes:
        raise ConfigurationError(source, mistakes)
    return configuration


def yaml_document(text: str, source: str) -> object:
    """Read one YAML document, None if it is empty; a key given twice is a mistake.

    Raises:
        ConfigurationError: this is not YAML, or not to be trusted.
    """
    try:
        # A SafeLoader that also refuses a key given twice.
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigurationError(source, [f"{place}{error.problem or 'this is not YAML'}"]) from error
    except Exception as error:
        # PyYAML lets KeyError, AttributeError and more out of a wrong !!tag.
        raise ConfigurationError(source, [f"this is not YAML: {str(error) or type(error).__name__}"]) from error


def render_configuration(configuration: Configuration, base_url: str) -> str:
    """Return the configuration in force as YAML. It holds no secret: the key is only ever named by its file."""
    document = configuration.model_dump(mode="json")
    document["openai"]["base_url"] = base_url
    return yaml.safe_dump(document, sort_keys=False)


def _readable(text: str) -> str:
    """Escape what a terminal would obey: YAML can spell it in a key."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class _StrictLoader(yaml.SafeLoader):
    _depth = 0
    _merged = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - PyYAML's signature
        """Read a node, within bounds: at every level PyYAML looks at all those around it, for each character."""
        self._depth += 1
        if self._depth > _DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the library's gap
            raise yaml.composer.ComposerError(None, None, f"more than {_DEEPEST} levels are nested", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Copy what `<<` names, within bounds: ten lines that each merge the one before ten times fill any memory."""
        for key_node, value_node in node.value:
            if key_node.tag != _MERGE:
                continue
            for each in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                if isinstance(each, yaml.MappingNode):
                    self.flatten_mapping(each)
                    self._merged += len(each.value)
            if self._merged > _MOST_MERGED_KEYS:
                raise yaml.constructor.ConstructorError(
                    None, None, f"more than {_MOST_MERGED_KEYS} keys are merged by <<", key_node.start_mark
                )
        super().flatten_mapping(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen = set()
        for key_node, _ in node.value:
            # What is no scalar is refused as a key further down.
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            if key_node.value in seen and key_node.tag != _MERGE:
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


def _known_keys(place: tuple[str | int, ...]) -> str:
    kind: Any = Configuration
    for part in place:
        kind = _kind_of_part(kind, part)
        if kind is None:
            return ""
    return f"; known here: {', '.join(kind.model_fields)}" if _is_section(kind) else ""


def _kind_of_part(kind: Any, part: str | int) -> Any:  # noqa: ANN401 - annotations are of any type
    if _is_section(kind):
        field = kind.model_fields.get(part)
        return None if field is None else field.annotation
    # A list's entries, or a mapping's values.
    return next((each for each in get_args(kind) if _is_section(each)), None)


def _is_section(kind: Any) -> bool:  # noqa: ANN401 - the same
    return isinstance(kind, type) and issubclass(kind, BaseModel)
