"""Valid documents, spoilt: keys dropped, retyped or given twice, numbers out of bounds, wrong nesting, bytes cut."""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

NASTY_TEXTS = (
    "",
    " ",
    "\n",
    "\r\n",
    '"',
    "\\",
    "\\n",
    '\\\\n"\n',
    "\x00",
    "\x1b[2J\x1b[31m",
    "\x7f\x85\u2028\u202e",
    '"} 1\nopenai_up 0\n# EOF',
    "{",
    "}",
    ",",
    "=",
    " # {} 1",
    "# EOF",
    "%s {0}",
    "\ufffd",
    "\U0001f600",
    "\u0301",
    "\u6f22\u5b57" * 80,
    "a" * 300,
    "<script>",
    "sk-admin-aaaaaaaaaaaaaaaaaaaaaaaaa",
    "somebody@example.com",
    "(none)",
    "(other)",
    "unmapped",
    "null",
)
"""Whole characters only: what is behind the reading of an answer."""

texts = st.sampled_from(NASTY_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
"""Texts that can be written as UTF-8."""

any_texts = texts | st.text(max_size=12) | st.sampled_from(["\ud800", "a\udfffb"])
"""Halves of characters among them."""


class Literal(str):
    """JSON as it is to be spelled."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object, keys given twice and all."""


_LITERALS = tuple(
    Literal(each)
    for each in (
        *("null", "true", "false", "[]", "{}", "0", "-0.0", "-1", "0.1", "1e3", "1.0", "1e15", "1e-15"),
        *("1e40", "1e308", "1e309", "-1e309", "1e999999", "1e999999999", "1e-999999999"),
        *("9223372036854775807", "9223372036854775808", "9" * 40, "9" * 400, "0." + "3" * 70, "[[[[]]]]"),
        *('"1"', '"0.5"', '"1e999"', '"NaN"', '"\\ud800"', '"\\u0000"', '"\\ud83d\\ude00"', '"usd"', '"USD"'),
    )
)
# Each of these spoils a whole document, so they come seldom.
_NO_JSON = tuple(
    Literal(each)
    for each in (
        *("NaN", "Infinity", "-Infinity", "01", "1_0", "+1", "0x1", "1e99999999999999999999", "9" * 5000),
        *("[" * depth + "]" * depth for depth in (300, 900, 990, 3000)),
        '{"a":' * 500 + "1" + "}" * 500,
    )
)


def spelled(value: Any) -> str:  # noqa: ANN401 - JSON is anything
    """Spell JSON, with what Python's own writer has no words for."""
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, dict):
        return spelled(Pairs(value.items()))
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json.dumps(key)}: {spelled(each)}" for key, each in value) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(spelled, value)) + "]"
    return json.dumps(value)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - the same
    """Yield every container with every key or index in it, from the outside in."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield value, key
            yield from _places(each)
    elif isinstance(value, list) and not isinstance(value, Pairs):
        for index, each in enumerate(value):
            yield value, index
            yield from _places(each)


_SELDOM = 9
_WIDE = 2**16 - 1
_GOLDEN = 40_503
junk = st.integers(0, 15).flatmap(
    lambda kind: (
        st.sampled_from(_NO_JSON)
        if kind == _SELDOM
        else st.sampled_from(_LITERALS) | any_texts | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    )
)


def _spread(number: int, length: int) -> int:
    """Return an index, as likely as any other though the first and last numbers are drawn most."""
    return number * _GOLDEN % (_WIDE + 1) * length // (_WIDE + 1)


@st.composite
def documents(draw: st.DrawFn, originals: Sequence[Any], most_changes: int = 4) -> Any:  # noqa: ANN401 - the same
    """One of the originals, changed in a few places."""
    root = [copy.deepcopy(draw(st.sampled_from(originals)))]
    for _ in range(draw(st.integers(0, most_changes))):
        places = list(_places(root))
        if not places:
            break
        container, key = places[_spread(draw(st.integers(0, _WIDE)), len(places))]
        _change(draw, container, key)
    return root[0] if root else None


def _change(draw: st.DrawFn, container: Any, key: Any) -> None:  # noqa: ANN401 - the same
    value = container[key]
    match draw(st.sampled_from(("junk", "drop", "twice", "wrap", "unwrap", "rename"))):
        case "junk":
            container[key] = draw(junk)
        case "drop":
            del container[key]
        case "twice" if isinstance(container, list):
            container.insert(key, copy.deepcopy(value))
        case "twice" if isinstance(value, dict) and value:
            container[key] = Pairs([*value.items(), (draw(st.sampled_from(sorted(value))), draw(junk))])
        case "wrap":
            container[key] = draw(st.sampled_from(([value], {"value": value}, [value, value])))
        case "unwrap" if isinstance(value, list | dict) and value:
            container[key] = next(iter(value.values() if isinstance(value, dict) else value))
        case "rename" if isinstance(container, dict):
            container[draw(any_texts)] = container.pop(key)
        case _:
            container[key] = draw(junk)


@st.composite
def damaged(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> bytes:
    """Bytes, cut or changed on their way, mostly not."""
    body = draw(bodies)
    # Small numbers, and the first and the last, are drawn more often than others.
    match draw(st.integers(0, 30)):
        case 13:
            return body[: draw(st.integers(0, len(body)))]
        case 17:
            place = draw(st.integers(0, len(body)))
            return body[:place] + draw(st.binary(max_size=4)) + body[place + draw(st.integers(0, 4)) :]
        case 23:
            return draw(st.binary(max_size=200))
    return body


def bodies(originals: Sequence[Any], most_changes: int = 4) -> st.SearchStrategy[bytes]:
    """JSON on its way: originals, changed as documents, then as bytes."""
    return damaged(
        documents(originals, most_changes).map(lambda document: spelled(document).encode("utf-8", "surrogatepass"))
    )
