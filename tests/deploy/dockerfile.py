"""A Dockerfile taken apart into stages and instructions, as far as the project's own needs it."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction, its lines joined; flags such as `--from=build` by their name."""

    name: str
    flags: Mapping[str, str]
    text: str

    def words(self) -> list[str]:
        """The exec form, or what blanks divide."""
        if self.text.startswith("["):
            words = json.loads(self.text)
            assert all(isinstance(word, str) for word in words)
            return list(words)
        return self.text.split()


class Stage(NamedTuple):
    base: str
    name: str
    instructions: list[Instruction]


class Dockerfile(NamedTuple):
    """`arguments` are those before the first stage, with their defaults."""

    arguments: Mapping[str, str]
    stages: list[Stage]


def parse_dockerfile(text: str) -> Dockerfile:
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in _joined(text):
        name, _, rest = line.partition(" ")
        flags, rest = _flags(rest.strip())
        if name == "FROM":
            base, _, stage_name = rest.partition(" AS ")
            stages.append(Stage(base, stage_name, []))
        elif stages:
            stages[-1].instructions.append(Instruction(name, flags, rest))
        else:
            assert name == "ARG", line
            arguments |= assignments(rest, {})
    return Dockerfile(arguments, stages)


def stages_of(dockerfile: Dockerfile, target: str = "") -> list[Stage]:
    """Return what a build of a stage, by default the last, is made from: in order, itself last, as BuildKit sees it."""
    named = {stage.name: stage for stage in dockerfile.stages}
    wanted = named[target] if target else dockerfile.stages[-1]
    sources = [wanted.base, *(each.flags["from"] for each in wanted.instructions if "from" in each.flags)]
    found: list[Stage] = []
    for name in sources:
        found += [stage for stage in stages_of(dockerfile, name) if stage not in found] if name in named else []
    return [*found, wanted]


def assignments(text: str, known: Mapping[str, str]) -> dict[str, str]:
    """Read `NAME=value` pairs, each of which knows the names given."""
    pairs = (word.partition("=") for word in shlex.split(text))
    return {name: substituted(value, known) for name, _, value in pairs}


def substituted(text: str, known: Mapping[str, str]) -> str:
    """Put values in the place of `${NAME}`; a name that is not known is a mistake here."""
    return re.sub(r"\$\{(\w+)\}", lambda found: known[found[1]], text)


def _joined(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [line.strip() for line in "\n".join(lines).replace("\\\n", "").splitlines()]


def _flags(rest: str) -> tuple[dict[str, str], str]:
    flags = {}
    while found := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        flags[found[1]] = found[2]
        rest = rest[found.end() :]
    return flags, rest
