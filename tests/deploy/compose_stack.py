"""The Compose stacks as the compose program itself understands them, and their files as containers see them."""

import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "deploy" / "compose"

OURS: Final = "compose.yaml"
WITH_KEY_FILE: Final = "compose.key-file.yaml"
SIMULATED: Final = "compose.simulated.yaml"
STACKS: Final = (OURS, WITH_KEY_FILE, SIMULATED)
"""Each is a whole stack."""

KEY: Final = "sk-admin-of-nobody"
NEEDED: Final = {
    OURS: {"OPENAI_ADMIN_KEY": KEY},
    WITH_KEY_FILE: {"OPENAI_ADMIN_KEY_FILE": "/etc/openai/admin.key"},
    SIMULATED: {},
}
"""What each wants in the environment."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the project in a container.

    Attributes:
        source: on this machine.
        target: in the container.
        read_only: whether the container may not write it.
    """

    source: Path
    target: Path
    read_only: bool


@dataclass(frozen=True, slots=True)
class Service:
    """One service of a stack, merged and with its variables filled in.

    Attributes:
        name: by which the others reach it.
        settings: as `docker compose config` prints them.
    """

    name: str
    settings: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        """Its arguments; empty for the image's own."""
        return list(self.settings.get("command") or [])

    @property
    def environment(self) -> dict[str, str]:
        """Its variables."""
        return dict(self.settings.get("environment") or {})

    @property
    def is_ours(self) -> bool:
        """Whether the exporter's program runs in it."""
        return "build" in self.settings

    @property
    def mounts(self) -> list[Mount]:
        """What it sees of the project."""
        return [
            Mount(Path(each["source"]), Path(each["target"]), each.get("read_only", False))
            for each in self.settings.get("volumes", ())
            if each["type"] == "bind"
        ]

    @property
    def volumes(self) -> dict[str, str]:
        """Its named volumes by where they are mounted."""
        return {each["target"]: each["source"] for each in self.settings.get("volumes", ()) if each["type"] == "volume"}

    def here(self, path: str | Path) -> Path:
        """Return where a file of the container is in the project; fails for one that is not mounted."""
        for mount in self.mounts:
            if Path(path).is_relative_to(mount.target):
                return mount.source / Path(path).relative_to(mount.target)
        raise AssertionError(f"{path} is not mounted in {self.name}")

    def lay_out(self, folder: Path) -> None:
        """Copy what is mounted into a folder that stands for the container's root."""
        for mount in self.mounts:
            target = folder / mount.target.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if mount.source.is_dir():
                shutil.copytree(mount.source, target)
            else:
                shutil.copy(mount.source, target)


@dataclass(frozen=True, slots=True)
class Stack:
    """A whole stack.

    Attributes:
        text: as the compose program prints it.
        project: what its containers and volumes are named after.
        services: by name.
        volumes: their full names by their short ones.
    """

    text: str
    project: str
    services: Mapping[str, Service]
    volumes: Mapping[str, str]


def run_compose(*files: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run `docker compose config` over files of the folder, with these variables and no others."""
    # It comes with the packages that the tests need, so it is never missing where they run.
    program = Path(sysconfig.get_path("scripts")) / "docker-compose"
    named = [argument for file in files for argument in ("--file", str(COMPOSE / file))]
    return subprocess.run(
        [str(program), *named, "config", "--format=json"],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def stack(*files: str, environment: Mapping[str, str] | None = None) -> Stack:
    """Return what these files make together."""
    given = environment if environment is not None else NEEDED[files[0]]
    done = run_compose(*files, environment=given)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    read = json.loads(done.stdout)
    services = {name: Service(name, settings) for name, settings in read["services"].items()}
    volumes = {short: volume["name"] for short, volume in read.get("volumes", {}).items()}
    return Stack(done.stdout, read["name"], services, volumes)


def flags(command: list[str]) -> dict[str, str]:
    """Return the `--name=value` among the arguments."""
    return dict(argument.split("=", 1) for argument in command if argument.startswith("--") and "=" in argument)


def load(path: Path) -> dict[str, Any]:
    """Read a YAML file."""
    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


def commands_of(readme: str) -> list[list[str]]:
    """Return the words behind `docker compose` of every command in a README."""
    return [found.split() for found in re.findall(r"docker compose (-[^`#\n]+)", readme)]
