"""Why a pattern matches none of the names there are, as its writer may have meant it. Pure."""

import bisect
import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from exporter.explanation.tables import printable

_EXAMPLES: Final = 3
_LIKENESS: Final = 0.6
# Comparing letter by letter takes long: of very many names, only those that begin most alike are compared.
_COMPARED_ON_EACH_SIDE: Final = 250

_SYNTAX: Final = re.compile(r"\(\?[a-zA-Z]*[:=!)]|\\(?=[^a-zA-Z0-9])|\.[*+]\??|[()\[\]{}*+?^$]")


def hint(pattern: str, names: Iterable[str]) -> str:
    """Return a sentence on what `pattern`, which matches none of `names`, may have been meant to be; "" for none.

    Args:
        pattern: a valid regular expression.
        names: what it is compared with.
    """
    known = sorted({name for name in names if name})
    if pattern in known:
        return f"To match {quoted(pattern)} literally, write {quoted(re.escape(pattern))}."
    but_for_case = list(filter(re.compile(pattern, re.IGNORECASE).fullmatch, known))
    if but_for_case:
        return f"But for upper and lower case it matches {listed(but_for_case)}; (?i) in front ignores it."
    if "*" in pattern:
        as_wildcard = [name for name in known if fnmatchcase(name, pattern)]
        if as_wildcard:
            meant = re.sub(r"(?<![.\])\\])\*", ".*", pattern)
            return f"As a wildcard it would match {listed(as_wildcard)}; as a regular expression write {quoted(meant)}."
    in_part = list(filter(re.compile(pattern).search, known)) if pattern else []
    if in_part:
        return f"It matches only a part of {listed(in_part)}; it must match the whole, such as with .* at its ends."
    nearest = _nearest(pattern, known)
    if nearest:
        return f"Nearest: {listed(nearest)}."
    return f"There {'is' if len(known) == 1 else 'are'}: {listed(known)}." if 0 < len(known) <= _EXAMPLES else ""


def quoted(text: str) -> str:
    """Return a pattern or a name in quotes, fit to be printed."""
    return f"'{printable(text)}'"


def listed(names: Collection[str], most: int = _EXAMPLES) -> str:
    """Return some names, and how many more there are."""
    some = [printable(name, 60) for name in list(names)[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(some)}{more}"


def some(names: Sequence[str]) -> str:
    """Return the first names, and that there are others."""
    others = " and others" if len(names) > _EXAMPLES else ""
    return f"{listed(names[:_EXAMPLES])}{others}"


def _nearest(pattern: str, known: Sequence[str]) -> list[str]:
    found: dict[str, float] = {}
    in_order = sorted((name.casefold(), name) for name in known)
    for alternative in _SYNTAX.sub("", pattern).split("|"):
        wanted = alternative.casefold()
        if not wanted:
            continue
        # It prepares its second text once for many first ones.
        matcher = difflib.SequenceMatcher(None, "", wanted, autojunk=False)
        place = bisect.bisect(in_order, (wanted, ""))
        for folded, name in in_order[max(0, place - _COMPARED_ON_EACH_SIDE) : place + _COMPARED_ON_EACH_SIDE]:
            matcher.set_seq1(folded)
            if matcher.real_quick_ratio() >= _LIKENESS and matcher.quick_ratio() >= _LIKENESS:
                found[name] = max(found.get(name, 0.0), matcher.ratio())
    likely = [name for name, likeness in found.items() if likeness >= _LIKENESS]
    return sorted(likely, key=lambda name: (-found[name], name))[:_EXAMPLES]
