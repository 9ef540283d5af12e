"""What an audit finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from exporter.audit.comparison import DayComparison, Figure, Pair
from exporter.audit.days import DaysOf
from exporter.audit.growth import Growth
from exporter.audit.in_prometheus import InPrometheus
from exporter.explanation.facts import Names


class Verdict(StrEnum):
    """What a figure that was not equal at the first look turned out to be."""

    CAUGHT_UP = "newer at first"
    BEHIND = "newer"
    NOT_READ = "not read yet"
    DIFFERENT = "DIFFERENT"

    @property
    def is_difference(self) -> bool:
        """Whether the ledger is wrong about it, or may be."""
        return self in {Verdict.DIFFERENT, Verdict.NOT_READ}


@dataclass(frozen=True, slots=True)
class Findings:
    """All of it.

    Attributes:
        place: where the state is.
        base_url: the API that was asked.
        written_at: when the state was last written, Unix seconds, at the last look.
        in_use: whether an exporter has the state open, or was killed while it had.
        looks: how often state and API were read.
        days: by API, which were compared.
        compared: every day of every API, as the last look at it found it.
        verdicts: of every figure that was not equal at the first look.
        differences: both sides of those that are still not, for no reason that is known.
        names: of projects and keys, as the state knows them.
        absent: APIs that this organization does not have.
        growths: what counters and values grew by between the first look and the last.
        impossible: amounts in the state that no ledger makes.
        prometheus: None where none was named.
        problems: what could not be compared, a sentence each.
    """

    place: str
    base_url: str
    written_at: float
    in_use: bool
    looks: int
    days: Mapping[str, DaysOf]
    compared: Sequence[DayComparison]
    verdicts: Mapping[Figure, Verdict]
    differences: Mapping[Figure, Pair]
    names: Names
    absent: frozenset[str]
    growths: Sequence[Growth]
    impossible: Sequence[str]
    prometheus: InPrometheus | None
    problems: Sequence[str]

    @property
    def count(self) -> int:
        """How many differences there are, of every kind."""
        return (
            len(self.differences)
            + len(self.impossible)
            + sum(not growth.holds for growth in self.growths)
            + (len(self.prometheus.differing) if self.prometheus else 0)
        )
