"""The lock files of the image: they hold what pyproject.toml asks for, nothing else, and for every processor."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.deploy.lock_file import Pinned, read_lock_file

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME = ROOT / "deploy/container/requirements.lock"
BUILD = ROOT / "deploy/container/build.lock"


def runtime_requirements() -> list[str]:
    extras: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
    required: list[str] = PROJECT["project"]["dependencies"]
    return required + [each for extra in extras.values() for each in extra]


def build_requirements() -> list[str]:
    required: list[str] = PROJECT["build-system"]["requires"]
    return required


FILES = pytest.mark.parametrize(
    ("path", "required"), [(RUNTIME, runtime_requirements()), (BUILD, build_requirements())], ids=["runtime", "build"]
)


@FILES
def test_what_is_required_is_pinned_at_a_version_that_will_do(path: Path, required: list[str]) -> None:
    versions = {pinned.name: pinned.version for pinned in read_lock_file(path)}
    for requirement in map(Requirement, required):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


@FILES
def test_everything_has_hashes_and_stands_there_once(path: Path, required: list[str]) -> None:
    pinned = read_lock_file(path)
    assert len(pinned) >= len(required)
    assert all(each.hashes for each in pinned)
    assert len({each.name for each in pinned}) == len(pinned)


@FILES
def test_nothing_is_there_that_nobody_asked_for(path: Path, required: list[str]) -> None:
    pinned = {each.name: each for each in read_lock_file(path)}
    asked_for = {canonicalize_name(Requirement(each).name) for each in required}
    found: set[NormalizedName] = set()
    while asked_for - found:
        found |= asked_for
        asked_for = {each.name for each in pinned.values() if wanted_by(each) & found} | found
    assert set(pinned) == found


def wanted_by(pinned: Pinned) -> set[NormalizedName]:
    return {canonicalize_name(name) for name in pinned.wanted_by}


@FILES
@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.11", "3.13", "3.14"])
def test_all_of_it_holds_for_every_processor_and_python(
    path: Path, required: list[str], processor: str, python: str
) -> None:
    assert required
    environment = {
        "platform_machine": processor,
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    assert all(each.marker is None or each.marker.evaluate(environment) for each in read_lock_file(path))


@FILES
def test_no_address_of_a_registry_is_in_it(path: Path, required: list[str]) -> None:
    text = path.read_text(encoding="utf-8")
    assert required
    assert "make lock" in text.splitlines()[1]
    assert not re.search(r"://|^\s*-|index|find-links|trusted-host", text.replace("    --hash=", ""), re.MULTILINE)


@pytest.mark.parametrize(
    "damaged",
    [
        "h11==0.16.0\n",
        "h11>=0.16.0 \\\n    --hash=sha256:" + "0" * 64 + "\n",
        "h11==0.16.0 \\\n    --hash=md5:" + "0" * 32 + "\n",
        "--index-url https://packages.example/simple\n",
        "./h11 \\\n    --hash=sha256:" + "0" * 64 + "\n",
    ],
)
def test_a_lock_file_with_anything_else_is_not_taken_for_one(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "damaged.lock").write_text(BUILD.read_text(encoding="utf-8") + damaged, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"damaged\.lock"):
        read_lock_file(tmp_path / "damaged.lock")
