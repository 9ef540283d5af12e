"""The Dockerfile's steps, one by one, in empty folders that stand for an image's root."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.dockerfile import Dockerfile, Instruction, Stage, assignments, stages_of
from tests.deploy.image_root import Mount, empty_root, image_environment, run_in_root

# Only root may give files away.
PRIVILEGED = os.geteuid() == 0


@dataclass
class Image:
    """A root folder, and what the instructions say of a container made from it."""

    root: Path
    environment: dict[str, str] = field(default_factory=image_environment)
    labels: dict[str, str] = field(default_factory=dict)
    exposed: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    workdir: str = "/"
    user: str = "0:0"
    stop_signal: str = ""
    health_check: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Builder:
    """What a build has at hand.

    Attributes:
        context: the files that are let in.
        folder: for the stages' roots.
        arguments: `--build-arg`.
        environment: of the machine that builds, such as where packages come from; nothing of it stays in the image.
        mounts: the same of folders.
    """

    context: Path
    folder: Path
    arguments: Mapping[str, str]
    environment: Mapping[str, str]
    mounts: Sequence[Mount]

    def build(self, dockerfile: Dockerfile) -> Image:
        """Build the last stage, and before it those that it is made from."""
        stages: dict[str, Image] = {}
        image = None
        for number, stage in enumerate(stages_of(dockerfile)):
            image = stages[stage.name] = self._stage(stage, self.folder / f"stage-{number}", stages)
        assert image is not None
        return image

    def _stage(self, stage: Stage, root: Path, stages: Mapping[str, Image]) -> Image:
        if stage.base in stages:
            # Another name for that stage; none of the production image's adds to another one.
            assert not stage.instructions
            return stages[stage.base]
        image = Image(empty_root(root))
        arguments: dict[str, str] = {}
        for instruction in stage.instructions:
            known = arguments | image.environment
            match instruction.name:
                case "ARG":
                    declared = assignments(instruction.text, known)
                    arguments |= declared | {name: self.arguments[name] for name in declared if name in self.arguments}
                case "COPY":
                    self._copy(instruction, image, stages)
                case "RUN":
                    environment = dict(self.environment) | known
                    run_in_root(
                        image.root, ["/bin/sh", "-c", instruction.text], environment, image.workdir, self.mounts
                    )
                case _:
                    _describe(instruction, image, known)
        return image

    def _copy(self, instruction: Instruction, image: Image, stages: Mapping[str, Image]) -> None:
        source_root = stages[instruction.flags["from"]].root if "from" in instruction.flags else self.context
        *sources, target = instruction.words()
        # An absolute target replaces the folder that it would otherwise be in.
        destination = image.root / Path(image.workdir, target).relative_to("/")
        is_folder = target.endswith("/") or len(sources) > 1
        for source in (source_root / name.removeprefix("/") for name in sources):
            if source.is_dir():
                shutil.copytree(source, destination, symlinks=True, dirs_exist_ok=True)
                copied = destination
            else:
                copied = destination / source.name if is_folder else destination
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copied)
            self._give_away(instruction, copied)

    @staticmethod
    def _give_away(instruction: Instruction, copied: Path) -> None:
        user, _, group = instruction.flags.get("chown", "").partition(":")
        if user and PRIVILEGED:
            for path in (copied, *copied.rglob("*")):
                os.chown(path, int(user), int(group), follow_symlinks=False)


def _describe(instruction: Instruction, image: Image, known: Mapping[str, str]) -> None:
    lists = {
        "CMD": image.command,
        "ENTRYPOINT": image.entrypoint,
        "EXPOSE": image.exposed,
        "VOLUME": image.volumes,
    }
    match instruction.name:
        case "ENV":
            image.environment |= assignments(instruction.text, known)
        case "LABEL":
            image.labels |= assignments(instruction.text, known)
        case "WORKDIR":
            image.workdir = instruction.text
            (image.root / instruction.text.removeprefix("/")).mkdir(parents=True, exist_ok=True)
        case "USER":
            image.user = instruction.text
        case "STOPSIGNAL":
            image.stop_signal = instruction.text
        case "HEALTHCHECK":
            form, _, command = instruction.text.partition(" ")
            assert form == "CMD"
            image.health_check = Instruction(form, {}, command).words()
        case name:
            # An instruction that the tests do not know fails here.
            lists[name] += instruction.words()
