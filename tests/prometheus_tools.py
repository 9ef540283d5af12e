"""Prometheus' own programs, where they are installed: the judges nobody here wrote."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Return the program's path. Missing, it skips the test; where REQUIRE_PROMETHEUS is set, it fails it."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed (Debian: prometheus, prometheus-alertmanager)"
        if os.environ.get("REQUIRE_PROMETHEUS"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def check_metrics(page: bytes) -> tuple[int, str]:
    """Run `promtool check metrics` over a page in the text format: 0 good, 3 remarks on style only, 1 unreadable."""
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=page, capture_output=True, check=False, timeout=60
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def load_blocks(openmetrics: Path, data: Path, *flags: str) -> None:
    """Load samples with timestamps into a Prometheus data folder."""
    done = subprocess.run(
        [program("promtool"), "tsdb", "create-blocks-from", *flags, "openmetrics", str(openmetrics), str(data)],
        capture_output=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        pytest.fail(f"promtool cannot load the samples: {done.stderr.decode()[-2000:]}")
