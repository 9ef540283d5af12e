"""Programs that judge what is deployed, where they are installed."""

import os
import shutil

import pytest


def required_program(name: str, *, strict: str) -> str:
    """Return the program's path. Missing, it skips the test; where the environment has `strict`, it fails it."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed"
        if os.environ.get(strict):
            pytest.fail(message)
        pytest.skip(message)
    return path
