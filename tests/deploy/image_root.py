"""A folder as the root of processes: the system's programs read-only in it, and nothing else of this machine.

It takes Linux' namespaces, which root may make, and others where the kernel lets them.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

# With the certificate authorities, which the base image has too.
_SYSTEM = ("bin", "etc/ssl", "lib", "lib32", "lib64", "sbin", "usr")
_DEVICES = ("null", "urandom", "zero")
# Stands for the folder where the base image has its Python.
_PYTHON = "image-python"


class Mount(NamedTuple):
    source: Path
    target: str
    writable: bool = False


def image_environment() -> dict[str, str]:
    """What the base image sets."""
    return {"PATH": f"/{_PYTHON}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def namespaces(*kinds: str) -> list[str]:
    """Return what begins a command that is to have these namespaces of its own.

    Where the kernel refuses, the test is skipped; where REQUIRE_NAMESPACES is set, it fails.
    """
    # Others than root become root of a namespace that has nobody but themselves.
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    command = [shutil.which("unshare") or "unshare", *user, *(f"--{kind}" for kind in kinds)]
    try:
        refused = subprocess.run([*command, "true"], capture_output=True, check=False, timeout=60).stderr.decode()
    except OSError as error:
        refused = str(error)
    if refused:
        message = f"namespaces cannot be had here: {refused.strip()}"
        if os.environ.get("REQUIRE_NAMESPACES"):
            pytest.fail(message)
        pytest.skip(message)
    return command


def empty_root(root: Path) -> Path:
    """Make what an image's root has before anything is done to it; the system's folders are mounted later."""
    for folder in ("dev", "etc", "proc", "tmp", "var/lib", _PYTHON):
        (root / folder).mkdir(parents=True)
    for device in _DEVICES:
        (root / "dev" / device).touch()
    for name in ("python", "python3"):
        # The interpreter that runs the tests, without their virtual environment.
        (root / _PYTHON / name).symlink_to(Path(sys.executable).resolve())
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            (root / name).symlink_to(path.readlink())
        elif path.is_dir():
            (root / name).mkdir(parents=True)
    if not _base_prefix().is_relative_to("/usr"):
        (root / _base_prefix().relative_to("/")).mkdir(parents=True)
    return root


def in_root(root: Path, command: Sequence[str], mounts: Sequence[Mount], *, writable: bool) -> str:
    """Return the shell's lines that replace the shell by the command, in namespaces made for it."""
    system = [Path("/", name) for name in _SYSTEM if (root / name).is_dir() and not (root / name).is_symlink()]
    if not _base_prefix().is_relative_to("/usr"):
        system.append(_base_prefix())
    every = [*(Mount(path, str(path)) for path in system), *mounts]
    quoted_root = shlex.quote(str(root))
    lines = ["set -e", "umask 022", f"mount --bind {quoted_root} {quoted_root}"]
    for mount in every:
        source, target = shlex.quote(str(mount.source)), shlex.quote(f"{root}{mount.target}")
        lines.append(f"mount --bind {source} {target}")
        if not mount.writable:
            lines.append(f"mount -o remount,bind,ro {target}")
    lines += [f"mount --bind /dev/{device} {quoted_root}/dev/{device}" for device in _DEVICES]
    lines.append(f"mount -t proc proc {quoted_root}/proc")
    if not writable:
        lines.append(f"mount -o remount,bind,ro {quoted_root}")
    lines.append(f"exec chroot {quoted_root} {shlex.join(command)}")
    return "\n".join(lines)


def with_environment(environment: Mapping[str, str], workdir: str, command: Sequence[str]) -> list[str]:
    """Return a command that has this environment alone."""
    settings = [f"{name}={value}" for name, value in environment.items()]
    return ["/usr/bin/env", "-i", "-C", workdir, *settings, *command]


def run_in_root(
    root: Path, command: Sequence[str], environment: Mapping[str, str], workdir: str, mounts: Sequence[Mount]
) -> None:
    """Run a command that may write there, to its end."""
    for mount in mounts:
        (root / mount.target.removeprefix("/")).mkdir(parents=True, exist_ok=True)
    lines = in_root(root, with_environment(environment, workdir, command), mounts, writable=True)
    begun = namespaces("mount", "pid", "fork", "kill-child")
    done = subprocess.run([*begun, "/bin/sh", "-c", lines], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def _base_prefix() -> Path:
    return Path(sys.base_prefix).resolve()
