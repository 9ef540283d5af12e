"""What `.dockerignore` lets into the build, by the rules of its documentation: the last rule that fits decides."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# Never let in, and too large to look at file by file; the test shows that the rules refuse them too.
_NOT_WALKED = frozenset({".git", ".venv"})


class Ignored:
    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        rules = [line for line in lines if line and not line.startswith("#")]
        self._rules = [(not rule.startswith("!"), _pattern(rule.removeprefix("!").strip("/"))) for rule in rules]

    def lets_in(self, path: str) -> bool:
        """Tell of a file's path below the context's root; a rule about a folder holds for all in it."""
        places = [path, *(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")]
        refused = False
        for refuses, pattern in self._rules:
            if any(pattern.fullmatch(place) for place in places):
                refused = refuses
        return not refused

    def context(self, root: Path) -> Iterator[str]:
        """Yield the paths of all files that are let in."""
        for entry in sorted(root.iterdir()):
            if entry.name in _NOT_WALKED:
                continue
            files = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
            for file in files:
                path = file.relative_to(root).as_posix()
                if self.lets_in(path) and file.is_file():
                    yield path


def _pattern(rule: str) -> re.Pattern[str]:
    parts = {"**/": "(.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"\*\*/|/\*\*$|\*\*|\*|\?|\[[^]]+\]|.", rule)
    return re.compile(
        "".join(parts.get(token, token if token.startswith("[") else re.escape(token)) for token in tokens)
    )
