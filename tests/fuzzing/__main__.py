"""`python -m tests.fuzzing`: the same properties for longer, led by coverage where atheris is installed.

Each property runs in a process of its own. What one finds is kept in `.hypothesis`, where pytest finds and shrinks it.
"""

import argparse
import importlib
import importlib.util
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hypothesis import HealthCheck, settings

from exporter.terminal import print_text

_HERE: Final = Path(__file__).parent
_CORPUS: Final = Path(".hypothesis") / "fuzzing"
# Hypothesis reads no more bytes than this for one example; libFuzzer would begin with one.
_EXAMPLE_BYTES: Final = 8 * 1024
_BEGINNINGS: Final = 16
_EXAMPLES_AT_ONCE: Final = 500
_HANGS_AFTER_SECONDS: Final = 60
_MOST_MEBIBYTES: Final = 2048

Property = Callable[[], None]


def _modules() -> list[str]:
    return sorted(path.stem for path in _HERE.glob("test_*.py"))


def _properties(module: str) -> dict[str, Any]:
    """The properties of a module, by name."""
    found = importlib.import_module(f"tests.fuzzing.{module}")
    return {
        name: each for name, each in vars(found).items() if name.startswith("test_") and hasattr(each, "hypothesis")
    }


def _run_one(module: str, name: str, seconds: int) -> None:
    # Properties that look at the log have a handler of their own.
    logging.getLogger().addHandler(logging.NullHandler())
    settings.register_profile(
        "deep",
        deadline=None,
        max_examples=_EXAMPLES_AT_ONCE,
        suppress_health_check=list(HealthCheck),
        derandomize=False,
    )
    if importlib.util.find_spec("atheris") is None:
        settings.load_profile("deep")
        _run_random(module, name, seconds)
    else:
        _run_guided(module, name, seconds)


def _run_random(module: str, name: str, seconds: int) -> None:
    """Try examples until time is up; every round begins anew."""
    until = time.monotonic() + seconds
    deep = settings(_properties(module)[name], max_examples=_EXAMPLES_AT_ONCE)
    tried: Property = deep(_properties(module)[name])
    while time.monotonic() < until:
        tried()


def _run_guided(module: str, name: str, seconds: int) -> None:
    """Let libFuzzer choose the bytes that Hypothesis makes examples of; ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["exporter"]):
        found = _properties(module)[name]
    corpus = _CORPUS / f"{module}.{name}"
    corpus.mkdir(parents=True, exist_ok=True)
    for number in range(_BEGINNINGS):
        beginning = random.Random(number).randbytes(_EXAMPLE_BYTES)  # noqa: S311 - no secret, and the same each time
        (corpus / f"beginning-{number}").write_bytes(beginning)
    options = {
        "max_total_time": seconds,
        "max_len": _EXAMPLE_BYTES,
        "timeout": _HANGS_AFTER_SECONDS,
        "rss_limit_mb": _MOST_MEBIBYTES,
        "artifact_prefix": f"{_CORPUS}/",
        "verbosity": 0,
        "print_final_stats": 1,
    }
    arguments = [sys.argv[0], *(f"-{option}={value}" for option, value in options.items()), str(corpus)]
    atheris.Setup(arguments, found.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def _run_all(seconds: int, wanted: str) -> int:
    """Give each property its share of the time; then let pytest show what was found, shrunk."""
    listed = [(module, name) for module in _modules() for name in _properties(module) if wanted in f"{module}.{name}"]
    each = max(1, seconds // max(1, len(listed)))
    guide = "atheris" if importlib.util.find_spec("atheris") else "nothing; atheris is not installed"
    print_text(f"{len(listed)} properties, {each} s each, led by {guide}\n")
    broken = []
    for module, name in listed:
        print_text(f"\n{module}.{name}\n")
        one = [sys.executable, "-m", "tests.fuzzing", f"--one={module}.{name}", f"--seconds={each}"]
        if subprocess.run(one, check=False, env={**os.environ, "PYTHONHASHSEED": "0"}).returncode:
            broken.append((module, name))
    for module, name in broken:
        shown = [sys.executable, "-m", "pytest", "-q", "-n", "0", f"{_HERE / module}.py::{name}"]
        subprocess.run(shown, check=False)
    names = "".join(f"  {module}.{name}\n" for module, name in broken)
    print_text(f"\n{len(broken)} of {len(listed)} properties are broken\n{names}")
    return 1 if broken else 0


def main() -> int:
    """Run what is asked for; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description="Try the properties for longer.")
    parser.add_argument("--seconds", type=int, default=600, help="for all of them together")
    parser.add_argument("--only", default="", help="those whose name holds this text")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is None:
        return _run_all(options.seconds, options.only)
    module, _, name = options.one.partition(".")
    _run_one(module, name, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
