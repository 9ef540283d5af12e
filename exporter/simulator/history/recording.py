"""What recording rules would have recorded over the past.

Prometheus records at the present alone. So it is asked for each rule's expression at each moment of the past, and the
answers become samples named and labelled as its rules would. What builds on them is asked of a Prometheus that has
them.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import yaml

from exporter.simulator.history.blocks import load
from exporter.simulator.history.moments import Run
from exporter.simulator.history.programs import ProgramError, program, running_prometheus

_RECORDED: Final = re.compile(r"([a-z_]+(?::[a-z0-9_]+)+)(?:\{([^}]*)\})?")
_EQUAL: Final = re.compile(r'(\w+)="([^"]*)"')
_QUERY_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A recording rule.

    Attributes:
        name: what it records.
        expression: PromQL.
        labels: that the rule itself sets.
    """

    name: str
    expression: str
    labels: Mapping[str, str] = field(default_factory=dict)


def recording_rules(*files: Path) -> list[RecordingRule]:
    """Read the recording rules of these files, in their order; alerts are left out.

    Raises:
        ProgramError: a file cannot be read, or holds no rules.
    """
    rules: list[RecordingRule] = []
    for file in files:
        try:
            rules += [
                RecordingRule(rule["record"], str(rule["expr"]), rule.get("labels", {}))
                for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
                for rule in group["rules"]
                if "record" in rule
            ]
        except OSError as error:
            raise ProgramError(f"{file} cannot be read: {error.strerror}") from error
        except (ValueError, yaml.YAMLError, LookupError, TypeError) as error:
            raise ProgramError(f"{file} is no file of rules; `promtool check rules` says why") from error
    return rules


def needed_for(names: Collection[str], rules: Sequence[RecordingRule]) -> list[RecordingRule]:
    """Return the rules that record these names, and those that record what they are made from; order as given."""
    needed = set(names)
    while True:
        known = len(needed)
        needed |= {name for rule in rules if rule.name in needed for name, _ in _uses(rule)}
        if len(needed) == known:
            return [rule for rule in rules if rule.name in needed]


def in_layers(rules: Iterable[RecordingRule]) -> list[list[RecordingRule]]:
    """Sort rules into layers, each made from what comes before it; what a rule makes of its own past does not count.

    Raises:
        ValueError: rules are made from each other.
    """
    left = list(rules)
    uses = {id(rule): _uses(rule) for rule in left}
    layers: list[list[RecordingRule]] = []
    while left:
        layer = [
            rule
            for rule in left
            if not any(
                other is not rule and _records(other, name, matchers)
                for name, matchers in uses[id(rule)]
                for other in left
            )
        ]
        if not layer:
            raise ValueError(f"rules are made from each other: {', '.join(sorted({rule.name for rule in left}))}")
        layers.append(layer)
        taken = set(map(id, layer))
        left = [rule for rule in left if id(rule) not in taken]
    return layers


def record(
    folder: Path,
    rules: Iterable[RecordingRule],
    runs_of: Callable[[RecordingRule], Sequence[Run]],
    *,
    find: Callable[[str], str] = program,
    tell: Callable[[str], None] = lambda _progress: None,
) -> None:
    """Evaluate rules over `folder`/data, each at its moments of the past, and load there what comes out.

    Raises:
        ProgramError: Prometheus or promtool is missing or failed.
    """
    layers = in_layers(rules)
    for number, layer in enumerate(layers, 1):
        with running_prometheus(folder, find=find) as url, _asking() as client:
            tell(f"rules: layer {number} of {len(layers)}, {len(layer)} rules")
            load(
                (sample for rule in layer for sample in _recorded(client, url, rule, runs_of(rule))),
                folder / "data",
            )


def _asking() -> httpx.Client:
    # Nothing on this machine is behind a proxy.
    return httpx.Client(timeout=_QUERY_SECONDS, trust_env=False)


def _uses(rule: RecordingRule) -> list[tuple[str, Mapping[str, str]]]:
    """Return the recorded names in the rule's expression, each with the label values that it asks for."""
    return [(name, dict(_EQUAL.findall(matchers))) for name, matchers in _RECORDED.findall(rule.expression)]


def _records(rule: RecordingRule, name: str, matchers: Mapping[str, str]) -> bool:
    return rule.name == name and all(
        label not in matchers or matchers[label] == value for label, value in rule.labels.items()
    )


def _recorded(client: httpx.Client, url: str, rule: RecordingRule, runs: Iterable[Run]) -> Iterator[str]:
    values: dict[str, dict[float, str]] = {}
    for run in runs:
        answer = client.post(
            f"{url}/api/v1/query_range",
            data={"query": rule.expression, "start": run.first, "end": run.last, "step": run.step},
        )
        if not answer.is_success:
            raise ProgramError(f"Prometheus cannot evaluate the rule {rule.name}: {answer.text[:500]}")
        for found in answer.json()["data"]["result"]:
            values.setdefault(_series(rule, found["metric"]), {}).update(found["values"])
    for series, by_moment in values.items():
        # A block takes each series in order of time, and the runs overlap.
        for at, value in sorted(by_moment.items()):
            yield f"{series} {value} {at}\n"


def _series(rule: RecordingRule, labels: Mapping[str, str]) -> str:
    named = {name: value for name, value in labels.items() if name != "__name__"} | dict(rule.labels)
    return rule.name + "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in named.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
