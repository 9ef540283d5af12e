"""Pages that were scraped in the past, and what rules would have recorded over them."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.rule_files import Rule
from tests.end_to_end.prometheus_server import prometheus
from tests.prometheus_tools import load_blocks

_RECORDED_NAME = re.compile(r"[a-z_]+(?::[a-z0-9_]+)+")
_MOMENT = re.compile(r"^(\w+_timestamp_seconds(?:\{.*\})?) (\S+)$")


@dataclass(frozen=True, slots=True)
class Scrape:
    """A page in the text format, and the Unix second at which it was read."""

    at: int
    page: str


def load(folder: Path, scrapes: Iterable[Scrape], *, later: int) -> None:
    """Load pages into `folder`/data as if all had happened `later` seconds later, moments on the pages too."""
    _load(folder, (line for scrape in scrapes for line in _samples(scrape, later)))


def _samples(scrape: Scrape, later: int) -> Iterator[str]:
    for line in scrape.page.splitlines():
        if line.startswith("#"):
            continue
        moment = _MOMENT.match(line)
        sample = f"{moment[1]} {float(moment[2]) + later!r}" if moment else line
        yield f"{sample} {scrape.at + later}\n"


def _load(folder: Path, samples: Iterable[str]) -> None:
    file = folder / "samples.om"
    with file.open("w", encoding="utf-8") as output:
        output.writelines(samples)
        output.write("# EOF\n")
    load_blocks(file, folder / "data")


def record(folder: Path, rules: Iterable[Rule], moments: Sequence[int]) -> None:
    """Let Prometheus evaluate rules, in their order, at these moments of the past, and load what comes out.

    Prometheus records at the present alone. So it is asked for each rule's expression at each moment, and the answers
    become samples named and labelled as its rules would. What builds on them is asked of a Prometheus that has them.
    """
    for layer in _layers(rules):
        with prometheus(folder) as server:
            samples = [
                f"{_series(rule, labels)} {value!r} {at}\n"
                for rule in layer
                for at in moments
                for labels, value in server.query(rule.expression, at).items()
            ]
        _load(folder, samples)


def needed_for(names: Collection[str], rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules that record these names, and those that record what they are made from; order as given."""
    needed = set(names)
    while True:
        known = len(needed)
        needed |= {name for rule in rules if rule.name in needed for name in _RECORDED_NAME.findall(rule.expression)}
        if len(needed) == known:
            return [rule for rule in rules if rule.name in needed]


def _layers(rules: Iterable[Rule]) -> Iterator[list[Rule]]:
    """Cut the rules wherever one builds on another of its layer."""
    layer: list[Rule] = []
    for rule in rules:
        if {each.name for each in layer} & set(_RECORDED_NAME.findall(rule.expression)):
            yield layer
            layer = []
        layer.append(rule)
    yield layer


def _series(rule: Rule, labels: Iterable[tuple[str, str]]) -> str:
    named = {name: value for name, value in labels if name != "__name__"} | dict(rule.labels)
    return rule.name + "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in named.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
