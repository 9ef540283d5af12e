"""The Dockerfile as it is written, and what may get into its build."""

import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from exporter.command_line import main
from exporter.listen_address import DEFAULT_ADDRESS, listen_address
from exporter.metrics.self_metrics import REVISION_VARIABLE
from tests.deploy.dockerfile import Instruction, Stage, parse_dockerfile, stages_of
from tests.deploy.dockerignore import Ignored

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
DOCKERFILE = parse_dockerfile(TEXT)
BUILD, FINAL, PROMETHEUS, HISTORY, LAST = DOCKERFILE.stages
IGNORED = Ignored((ROOT / ".dockerignore").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def the(name: str, stage: Stage = FINAL) -> Instruction:
    (found,) = [each for each in stage.instructions if each.name == name]
    return found


def hadolint(text: str) -> "subprocess.CompletedProcess[str]":
    # It comes with the packages that the tests need, so it is never missing where they run.
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    return subprocess.run(
        [program, "--failure-threshold=style", "--no-color", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_hadolint_finds_nothing_not_even_in_style() -> None:
    checked = hadolint(TEXT)
    assert (checked.returncode, checked.stdout) == (0, "")
    assert "hadolint ignore" not in TEXT


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("FROM python:latest AS other", "DL3007"),
        ("RUN pip install h11", "DL3013"),
        ("RUN sudo true", "DL3004"),
        ("WORKDIR build", "DL3000"),
    ],
)
def test_hadolint_would_find_what_is_wrong(line: str, rule: str) -> None:
    checked = hadolint(f"{TEXT}{line}\n")
    assert checked.returncode == 1
    assert rule in checked.stdout


def test_both_stages_begin_with_one_slim_python_of_a_named_patch_level() -> None:
    assert [stage.base for stage in (BUILD, FINAL)] == ["${BASE}", "${BASE}"]
    found = re.fullmatch(r"python:(3\.\d+\.\d+)-slim-[a-z]+", DOCKERFILE.arguments["BASE"])
    assert found
    assert found[1] in SpecifierSet(PROJECT["requires-python"])


def test_a_build_without_a_target_is_the_image_alone_and_knows_nothing_of_prometheus() -> None:
    assert Stage(FINAL.name, "", []) == LAST
    assert stages_of(DOCKERFILE) == [BUILD, FINAL, LAST]


def test_the_history_s_stage_adds_prometheus_programs_and_a_folder_for_blocks_to_the_image() -> None:
    assert stages_of(DOCKERFILE, HISTORY.name) == [BUILD, FINAL, PROMETHEUS, HISTORY]
    assert (HISTORY.name, HISTORY.base) == ("simulated-history", FINAL.name)
    assert Stage("${PROMETHEUS}", "prometheus", []) == PROMETHEUS
    assert re.fullmatch(r"prom/prometheus:v3\.\d+\.\d+", DOCKERFILE.arguments["PROMETHEUS"])
    assert [(each.name, each.words(), each.flags) for each in HISTORY.instructions] == [
        ("COPY", ["/bin/prometheus", "/bin/promtool", "/usr/local/bin/"], {"from": "prometheus"}),
        ("COPY", ["/state", "/prometheus"], {"from": "build", "chown": the("USER").text}),
    ]


def test_packages_come_from_the_lock_files_with_their_hashes_and_nothing_else_is_installed() -> None:
    steps = " && ".join(each.text for each in BUILD.instructions if each.name == "RUN").split("&&")
    installs = [re.sub(r"\s+", " ", step) for step in steps if " install " in step and " pip " in step]
    assert len(installs) == 3
    for install in installs:
        from_lock = "--require-hashes" in install and re.search(r"--requirement (requirements|build)\.lock", install)
        assert from_lock or "--no-deps --no-index" in install


def test_the_final_stage_runs_nothing_and_takes_only_what_was_built_and_the_empty_configuration() -> None:
    assert "RUN" not in {each.name for each in FINAL.instructions}
    copied = [(*each.words(), each.flags) for each in FINAL.instructions if each.name == "COPY"]
    from_build = {"from": "build"}
    assert copied == [
        ("/opt/bytecode", "/opt/bytecode", from_build),
        ("/opt/openai-usage-exporter", "/opt/openai-usage-exporter", from_build),
        ("/state", "/var/lib/openai-usage-exporter", {**from_build, "chown": the("USER").text}),
        ("/configuration", "/etc/openai-usage-exporter", from_build),
    ]


def test_the_user_is_a_number_and_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", the("USER").text)


def test_processes_are_started_without_a_shell_and_stopped_with_sigterm() -> None:
    for name in ("ENTRYPOINT", "CMD", "VOLUME"):
        assert the(name).text.startswith("[")
    assert the("STOPSIGNAL").text == "SIGTERM"
    check = the("HEALTHCHECK")
    assert check.text.startswith("CMD [")
    assert Instruction("CMD", {}, check.text.removeprefix("CMD ")).words() == ["openai-usage-exporter", "check-health"]
    assert set(check.flags) == {"interval", "timeout", "start-period", "retries"}


def test_the_command_keeps_its_state_on_the_one_volume_and_listens_where_the_health_check_asks() -> None:
    flags = dict(word.split("=", 1) for word in the("CMD").words())
    assert set(flags) == {"--config.file", "--storage.path", "--web.listen-address"}
    assert the("VOLUME").words() == [flags["--storage.path"]]
    host, port = listen_address(flags["--web.listen-address"])
    assert (host, port) == ("", listen_address(DEFAULT_ADDRESS)[1])
    assert the("EXPOSE").words() == [str(port)]


def test_the_labels_and_the_version_are_those_of_the_project() -> None:
    labels = the("LABEL").text
    for name, value in (
        ("title", PROJECT["name"]),
        ("licenses", PROJECT["license"]),
        ("version", "${VERSION}"),
        ("revision", "${REVISION}"),
        ("source", "${SOURCE}"),
    ):
        assert f'org.opencontainers.image.{name}="{value}"' in labels
    description = re.search(r'description="([^"]+)"', labels)
    assert description
    assert PROJECT["description"].startswith(description[1])
    arguments = [each.text for each in FINAL.instructions if each.name == "ARG"]
    assert arguments == [f"VERSION={PROJECT['version']}", "REVISION=unknown", 'SOURCE=""']
    assert f"{REVISION_VARIABLE}=${{REVISION}}" in the("ENV").text


def test_the_readme_names_the_base_image_the_flags_and_the_arguments_that_there_are() -> None:
    readme = (ROOT / "deploy/container/README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"python:3[\w.-]+", readme)) == {DOCKERFILE.arguments["BASE"]}
    assert "\n".join(["```", *the("CMD").words(), "```"]) in readme
    assert f"user {the('USER').text.partition(':')[0]}," in readme
    arguments = {each.text.partition("=")[0] for each in FINAL.instructions if each.name == "ARG"}
    for name in arguments | {"BASE"}:
        assert f"`{name}`" in readme or f"--build-arg {name}=" in readme


def test_the_configuration_of_the_image_is_good_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for arguments in ((), (f"--config.file={ROOT / 'deploy/container/exporter.yml'}",)):
        assert main(["check-config", *arguments]) == 0
        shown.append(capsys.readouterr().out.split("\n", 1)[1])
    assert shown[0] == shown[1]


def test_what_the_dockerfile_copies_is_let_in_and_nothing_else() -> None:
    let_in = set(IGNORED.context(ROOT))
    copied: set[str] = set()
    for stage in DOCKERFILE.stages:
        for each in stage.instructions:
            if each.name == "COPY" and "from" not in each.flags:
                for source in each.words()[:-1]:
                    of_source = {path for path in let_in if path == source or path.startswith(f"{source}/")}
                    assert of_source, source
                    copied |= of_source
    assert let_in == copied
    assert {Path(path).suffix for path in let_in} <= {".py", ".typed", ".yml", ".lock", ".toml", ".md", ""}


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        ".env",
        ".dockerignore",
        ".ci/run",
        "Dockerfile",
        "Makefile",
        "CHANGELOG.md",
        "data/ledger.sqlite3",
        "tests/conftest.py",
        "tests/exporter/exporter.py",
        "deploy/container/README.md",
        "deploy/container/other.lock",
        "deploy/prometheus/prometheus.yml",
        "deploy/compose/.env",
        "grafana/dashboards/spend.json",
        "admin-key",
        "exporter.yml",
        "web.yml",
        "server.key",
        "exporter/.env",
        "exporter/web/.DS_Store",
        "exporter/server.key",
        "exporter/web/server.pem",
        "exporter/data/ledger.sqlite3",
        "exporter/ledger.sqlite3-wal",
        "exporter/__pycache__/service.cpython-313.pyc",
        "exporter/web/__pycache__/places.cpython-313.pyc",
        "exporter/service.pyc",
        "exporters/service.py",
        "README.md.orig",
    ],
)
def test_nothing_that_belongs_to_one_machine_or_is_secret_is_let_in(path: str) -> None:
    assert not IGNORED.lets_in(path)


@pytest.mark.parametrize(
    "path", ["pyproject.toml", "README.md", "LICENSE", "exporter/py.typed", "exporter/simulator/exporter.yml"]
)
def test_what_the_wheel_is_made_of_is_let_in(path: str) -> None:
    assert IGNORED.lets_in(path)
