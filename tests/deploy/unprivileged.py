"""Runs a command as nobody in particular, without capabilities, on a root that cannot be written."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import Final

import pytest

from tests.end_to_end.test_serving import PATIENCE_SECONDS, Served, free_port

USER: Final = 65532

EXPORTER: Final = (sys.executable, "-m", "exporter")
"""In the place of the installed program."""

# All that is mounted elsewhere stays as it is; what programs are likely to write to is on the root, or in `writable`.
_READ_ONLY: Final = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'
# Where folders are kept while what hides them is covered.
_ASIDE: Final = Path("/mnt")
_NOBODY: Final = (
    "setpriv",
    f"--reuid={USER}",
    f"--regid={USER}",
    "--clear-groups",
    "--no-new-privs",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--",
    # setpriv itself still has root's rights when it starts a program; env has none, and starts the next.
    "env",
)


def unprivileged(command: Sequence[str], writable: Path) -> list[str]:
    """Return the command as that user, able to write to one folder only. Skip the test where that cannot be done."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    for program in ("unshare", "setpriv", "mount"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    needed = [Path(sys.base_prefix), Path(sys.prefix), Path(__file__).parents[2]]
    script = " && ".join([*_within_reach(needed), _READ_ONLY])
    prefix = ["unshare", "--mount", "--", "sh", "-ec", script, str(writable), *_NOBODY]
    tried = subprocess.run(
        [*prefix, *EXPORTER, "--version"], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    if tried.returncode:
        pytest.skip(f"a user without rights cannot run this checkout here: {tried.stderr[-300:]}")
    return [*prefix, *command]


def _within_reach(needed: Sequence[Path]) -> Iterator[str]:
    """Yield shell commands that let every user get to these folders, such as an interpreter in root's home."""
    hidden: dict[Path, list[Path]] = {}
    for folder in needed:
        closed = [parent for parent in reversed(folder.parents) if not parent.stat().st_mode & stat.S_IXOTH]
        if closed:
            hidden.setdefault(closed[0], []).append(folder)
    if not hidden:
        return
    yield f"mount -t tmpfs none {_ASIDE}"
    moved = {folder: _ASIDE / str(number) for number, folder in enumerate(chain.from_iterable(hidden.values()))}
    for folder, place in moved.items():
        yield f"mkdir {place} && mount --bind {quote(str(folder))} {place}"
    for closed_folder in hidden:
        yield f"mount -t tmpfs -o mode=755 none {quote(str(closed_folder))}"
    for folder, place in moved.items():
        yield f"mkdir -p {quote(str(folder))} && mount --bind {place} {quote(str(folder))}"


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user can get to; pytest's own are for its user alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Served]:
    """Run an exporter, told to listen on a free port of loopback; its log goes to `folder`."""
    port = free_port()
    log = folder / "exporter.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Served(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)
