"""How one model is spelled in usage, on the bill, in the configuration and in price lists. Pure."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

_DATED: Final = re.compile(r"(?P<family>.+)-(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})", re.DOTALL)
# Usage spells `ft:gpt-4o-2024-08-06:acme::b4x7q2`, the bill `ft-gpt-4o-2024-08-06`.
_FINE_TUNED: Final = re.compile(r"ft[:-](?P<base>[^:]+)(?::(?P<owner>.*))?", re.DOTALL)

Entry = TypeVar("Entry")


class _Spelling(NamedTuple):
    """A model's name, taken apart; a part that the name leaves out is empty.

    Attributes:
        is_fine_tuned: a model of the organization's own, which has a price of its own.
        family: the name without a date; of a fine-tuned model, its base's.
        date: the snapshot's.
        owner: whose fine-tuned model it is, and its id.
    """

    is_fine_tuned: bool
    family: str
    date: str
    owner: str


@lru_cache(maxsize=10_000)
def _spelling(model: str) -> _Spelling:
    fine_tuned = _FINE_TUNED.fullmatch(model)
    base, owner = (fine_tuned["base"], fine_tuned["owner"] or "") if fine_tuned else (model, "")
    dated = _DATED.fullmatch(base)
    family, date = (dated["family"], dated["date"]) if dated else (base, "")
    return _Spelling(fine_tuned is not None, family, date, owner)


def family(model: str) -> str:
    """Return the name without its date; of a fine-tuned model without its owner and id too, as the bill spells it."""
    spelling = _spelling(model)
    return f"ft-{spelling.family}" if spelling.is_fine_tuned else spelling.family


def find_name(model: str, names: Mapping[str, object]) -> str | None:
    """Return which of `names` means this model: itself, else another spelling of it, else None.

    One of two spellings may leave out the date, or a fine-tuned model's owner and id. Names that differ in them are
    different models, at different prices: gpt-4o-2024-05-13 cost twice as much as gpt-4o-2024-08-06. If several are
    left, the one with the same date (or none, as this) wins, else the newest. A fine-tuned model is never its base.
    """
    if model in names:
        return model
    wanted = _spelling(model)
    return max(
        (name for name in names if _mean_the_same(wanted, _spelling(name))),
        key=lambda name: _likeness(wanted, name),
        default=None,
    )


def find(model: str, entries: Mapping[str, Entry]) -> Entry | None:
    """Return the entry of `entries` whose key means this model, as `find_name` does; None if there is none."""
    name = find_name(model, entries)
    return None if name is None else entries[name]


def _mean_the_same(left: _Spelling, right: _Spelling) -> bool:
    return (
        left.is_fine_tuned == right.is_fine_tuned
        and left.family == right.family
        and (not left.date or not right.date or left.date == right.date)
        and (not left.owner or not right.owner or left.owner == right.owner)
    )


def _likeness(wanted: _Spelling, name: str) -> tuple[bool, str, str]:
    spelling = _spelling(name)
    # The name itself comes last, so that the order of the names never matters.
    return spelling.date == wanted.date, spelling.date, name
