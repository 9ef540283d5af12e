"""The Dockerfile's own steps in empty folders, and what comes of them run as a container: without rights, read-only."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.deploy.compose_stack import SIMULATED, stack
from tests.deploy.dockerfile import parse_dockerfile
from tests.deploy.dockerignore import Ignored
from tests.deploy.image_build import PRIVILEGED, Builder, Image
from tests.deploy.image_root import Mount, image_environment
from tests.deploy.pod import Container, Pod, pod
from tests.prometheus_tools import program

ROOT = Path(__file__).parent.parent.parent
LOCK_FILES = [ROOT / "deploy/container/requirements.lock", ROOT / "deploy/container/build.lock"]
DOCKERFILE = parse_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))
REVISION = "0123abc"
SIMULATOR = "127.0.0.1:10186"
KEY = "sk-admin-simulated"
PAGE = "http://127.0.0.1:10185"
PROMETHEUS = "http://127.0.0.1:9090"
# A past is lived within a minute or so by an idle machine.
LIFETIME_SECONDS = 300
PROGRAMS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="an image's root takes Linux' namespaces")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("image")
    # As in an engine's build.
    mask = os.umask(0o022)
    yield made
    os.umask(mask)
    # Too large to be kept, as others of pytest's are.
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def image(folder: Path) -> Image:
    context = folder / "context"
    for path in Ignored((ROOT / ".dockerignore").read_text(encoding="utf-8")).context(ROOT):
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, context / path)
        # A checkout may be readable for its owner alone, and the image must not be.
        (context / path).chmod(0o600)
    packages = folder / "packages"
    download(packages, LOCK_FILES)
    # pip in the build finds packages where this says, and checks their hashes there.
    here = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/packages"}
    builder = Builder(context, folder / "stages", {"REVISION": REVISION}, here, [Mount(packages, "/packages")])
    return builder.build(DOCKERFILE)


def download(target: Path, lock_files: list[Path], *options: str) -> None:
    """Fetch exactly what the lock files pin, from wherever this machine has its packages."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(target), *options]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes"]
    for path in lock_files:
        command += ["--requirement", str(path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def state(tmp_path: Path, image: Image) -> Path:
    """A volume, as an engine makes it from what the image has in that place."""
    (volume,) = image.volumes
    pattern = image.root / volume.removeprefix("/")
    made = tmp_path / "state"
    shutil.copytree(pattern, made)
    os.chown(made, pattern.stat().st_uid, pattern.stat().st_gid)
    return made


@pytest.fixture(scope="module")
def a_pod(folder: Path) -> Iterator[Pod]:
    with pod(folder) as running:
        yield running


def files(image: Image) -> dict[str, Path]:
    """What the final stage adds to the base image, by its place there."""
    added = ("opt", "etc", "var")
    return {
        f"/{path.relative_to(image.root)}": path
        for name in added
        for path in (image.root / name).rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_the_image_exports_the_simulated_organization_as_nobody_and_stops_when_told(
    image: Image, a_pod: Pod, state: Path
) -> None:
    command = image.entrypoint + image.command
    environment = {"OPENAI_ADMIN_KEY": KEY, "OPENAI_BASE_URL": f"http://{SIMULATOR}/v1"}
    simulate = [*image.entrypoint, "simulate", f"--web.listen-address={SIMULATOR}"]
    before = {path: file.lstat() for path, file in files(image).items()}
    with a_pod.running(image, simulate, state=state) as simulator:
        simulator.wait_for_log(KEY)
        with a_pod.running(image, command, environment, state=state) as exporter:
            exporter.wait_for_log("msg=listening")
            page = a_pod.wait_for_page(f"{PAGE}/metrics", "\nopenai_up 1.0\n")
            assert re.search(rf'^openai_exporter_build_info\{{.*revision="{REVISION}".*\}} 1\.0$', page, re.MULTILINE)
            assert re.search(r"^openai_cost_month_usd\{.*\} [1-9]", page, re.MULTILINE)
            # On all addresses, of both families.
            assert "Healthy" in a_pod.fetch("http://[::1]:10185/-/healthy")
            assert a_pod.run(image, image.health_check, state=state) == (0, "healthy: 127.0.0.1:10185\n")

            running = Path(f"/proc/{exporter.pid}")
            status = dict(re.findall(r"^(\w+):\s*(.*)$", (running / "status").read_text(), re.MULTILINE))
            assert (status["NoNewPrivs"], int(status["CapEff"], 16), int(status["CapBnd"], 16)) == ("1", 0, 0)
            # It is the first process of its container, where nothing is done for a signal that it does not handle.
            assert status["NSpid"].split()[-1] == "1"
            if PRIVILEGED:
                assert status["Uid"].split() == status["Gid"].split() == ["65532"] * 4
            assert writable_places(running) == [*image.volumes, "/proc"]
            assert exporter.stop(image.stop_signal) == 0
            assert "msg=stopped" in exporter.log()
            assert "level=error" not in exporter.log()
            assert KEY not in exporter.log()
    status_code, said = a_pod.run(image, image.health_check, state=state)
    assert (status_code, "connection refused" in said) == (1, True)
    assert sorted(path.name for path in state.iterdir()) == ["ledger.lock", "ledger.sqlite3"]
    assert {path: file.lstat() for path, file in files(image).items()} == before


def writable_places(process: Path) -> list[str]:
    """Return where file systems are mounted that can be written, devices apart."""
    mounts = [line.split() for line in (process / "mountinfo").read_text(encoding="ascii").splitlines()]
    writable = [fields[4] for fields in mounts if "rw" in fields[5].split(",")]
    return sorted((place for place in writable if not place.startswith("/dev/")), key=lambda place: place == "/proc")


def test_nothing_but_the_volume_can_be_written(image: Image, a_pod: Pod, state: Path) -> None:
    places = "/ /tmp /opt /opt/openai-usage-exporter /etc/openai-usage-exporter /usr/lib"
    script = f"for place in {places} $TMPDIR; do touch $place/x; done"
    status, said = a_pod.run(image, ["/bin/sh", "-c", script], state=state)
    assert said.count("Read-only file system") == len(places.split())
    assert (status, [path.name for path in state.iterdir()]) == (0, ["x"])


def test_the_demonstration_runs_in_the_image_and_leaves_nothing_behind(image: Image, a_pod: Pod, state: Path) -> None:
    with a_pod.running(image, [*image.entrypoint, "demo", "--web.listen-address=:10185"], state=state) as demo:
        demo.wait_for_log("A simulated organization is at work")
        assert a_pod.run(image, image.health_check, state=state)[0] == 0
        assert list(state.iterdir())
        assert demo.stop(image.stop_signal) == 0
    assert list(state.iterdir()) == []


@pytest.mark.timeout(3 * LIFETIME_SECONDS)
def test_the_simulated_stack_of_compose_lives_its_past_and_goes_on_from_it(
    image: Image, a_pod: Pod, state: Path, tmp_path: Path
) -> None:
    services = stack(SIMULATED).services
    hosts = tmp_path / "hosts"
    hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in services), encoding="ascii")
    volumes = {"state": state}
    for name in ("prometheus", "alertmanager"):
        volumes[name] = tmp_path / name
        volumes[name].mkdir()
        os.chown(volumes[name], state.stat().st_uid, state.stat().st_gid)

    @contextmanager
    def running(name: str, *more: str) -> Iterator[Container]:
        # Prometheus and Alertmanager are the system's, whatever their images hold.
        service = services[name]
        begin = image.entrypoint if service.is_ours else [program(PROGRAMS[name])]
        mounts = [Mount(hosts, "/etc/hosts"), *(Mount(each.source, str(each.target)) for each in service.mounts)]
        mounts += [
            Mount(volumes[volume], target, writable=True)
            for target, volume in service.volumes.items()
            if volume != "state"
        ]
        command = [*begin, *service.command, *more]
        with a_pod.running(image, command, service.environment, state=state, mounts=mounts) as container:
            yield container

    with running("history", "--days=1", "--minutes=2") as history:
        assert history.wait(LIFETIME_SECONDS) == 0, history.log()
    blocks = [block.name for block in volumes["prometheus"].iterdir()]
    assert blocks
    assert all((volumes["prometheus"] / name / "meta.json").exists() for name in blocks)
    with running("history", "--days=1", "--minutes=2") as again:
        assert again.wait() == 0
        assert "left as it is" in again.log()
    assert [block.name for block in volumes["prometheus"].iterdir()] == blocks
    with (
        running("trace-gateway") as gateway,
        running("simulator") as simulator,
        running("alertmanager") as alertmanager,
    ):
        gateway.wait_for_log("msg=listening")
        simulator.wait_for_log(KEY)
        alertmanager.wait_for_log("Listening on")
        with running("exporter") as exporter:
            exporter.wait_for_log("msg=listening")
            a_pod.wait_for_page(f"{PAGE}/metrics", "\nopenai_exporter_state_restored 1.0\n")
            with running("prometheus") as prometheus:
                prometheus.wait_for_log("Server is ready")

                def answer(query: str, value: str) -> str:
                    return a_pod.wait_for_page(f"{PROMETHEUS}/api/v1/query?query={quote(query)}", f',"{value}"]')

                answer("count(up==1)", "2")
                answer("count(count by(job,instance)(last_over_time(up[2d])))", "2")
                answer("count(count_over_time(openai_up[2d])>2)", "1")
                told = a_pod.wait_for_page(f"{PROMETHEUS}/api/v1/alertmanagers", "alertmanager:9093")
                assert '"droppedAlertmanagers":[]' in told
                assert "level=error" not in prometheus.log() + exporter.log()


def test_all_that_runs_has_its_bytecode_and_list_prices_are_there(image: Image, a_pod: Pod, state: Path) -> None:
    script = """
import exporter.__main__, exporter.command_line, exporter.health_check, exporter.simulator.command, os, sys
from exporter.pricing.list_prices import load_list_prices
assert load_list_prices()("gpt-4o", "input", "text", 1767225600)
specs = {name: module.__spec__ for name, module in sys.modules.items() if getattr(module, "__spec__", None)}
cached = {name: spec.cached for name, spec in specs.items()}
compiled = [name for name, path in cached.items() if path and os.path.exists(path)]
print(len(compiled), *sorted(name for name, path in cached.items() if path and name not in compiled))
"""
    status, said = a_pod.run(image, ["python", "-c", script], state=state)
    assert status == 0, said
    count, *missing = said.split()
    assert missing == []
    assert int(count) > 300


def test_the_image_holds_what_runs_and_nothing_else(image: Image) -> None:
    held = files(image)
    packages = {path.split("/site-packages/", 1)[1].split("/")[0] for path in held if "/site-packages/" in path}
    assert {"exporter", "genai_prices", "httpx"} <= packages
    assert packages.isdisjoint({"pip", "setuptools", "wheel", "hatchling", "pytest", "tests"})
    bytecode = [path for path in held if path.endswith(".pyc")]
    assert bytecode
    assert all(path.startswith("/opt/bytecode/") for path in bytecode)
    assert not [path for path in held if path.endswith((".whl", ".lock"))]
    # The rest of the image is the base image's.
    assert sum(file.lstat().st_size for file in held.values()) < 60_000_000


def test_nobody_but_root_can_change_what_runs(image: Image) -> None:
    for path, file in files(image).items():
        found = file.lstat()
        assert found.st_uid == os.geteuid(), path
        assert file.is_symlink() or not found.st_mode & 0o022, path
        assert found.st_mode & 0o004, path


def test_the_labels_say_what_it_was_built_from(image: Image) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in image.labels.items()}
    assert labels["title"] == "openai-usage-exporter"
    assert labels["revision"] == REVISION
    assert set(labels) == {"title", "description", "licenses", "version", "revision", "source"}
    # What a build has at hand stays out of the image.
    assert not [name for name in image.environment if name.startswith("PIP_")]
    assert image.environment["PATH"].endswith(image_environment()["PATH"])


@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
def test_the_lock_file_has_wheels_for_the_base_image_on_both_processors(tmp_path: Path, processor: str) -> None:
    base = re.match(r"python:(\d+\.\d+)\.", DOCKERFILE.arguments["BASE"])
    assert base
    platforms = [f"--platform=manylinux{kind}_{processor}" for kind in ("_2_28", "_2_17", "2014")]
    download(tmp_path, LOCK_FILES[:1], f"--python-version={base[1]}", *platforms)
    names = {path.name for path in tmp_path.iterdir()}
    assert any(name.startswith("pydantic_core-") and name.endswith(f"{processor}.whl") for name in names)


def test_a_package_with_another_hash_than_the_lock_file_s_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.lock"
    text = LOCK_FILES[1].read_text(encoding="utf-8")
    other.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", text), encoding="utf-8")
    with pytest.raises(AssertionError, match="DO NOT MATCH THE HASHES"):
        download(tmp_path / "packages", [other])
