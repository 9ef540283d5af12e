"""The systemd unit is one that systemd takes, it is tight, and its command line runs under what it forbids."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from pathlib import Path
from typing import Final

import pytest
import yaml

from exporter import command_line
from exporter.simulator.server import RunningSimulator, running_simulator
from tests.deploy import confinement
from tests.deploy.required_programs import required_program
from tests.deploy.systemd_unit import INSTALLED, SYSTEMD, UNIT, command, expanded, setting, settings
from tests.deploy.unprivileged import EXPORTER, USER, open_folder, started, unprivileged
from tests.end_to_end.test_serving import PATIENCE_SECONDS, Served

TEXT: Final = UNIT.read_text(encoding="utf-8")
README: Final = (SYSTEMD / "README.md").read_text(encoding="utf-8")
# systemd 252 says 1.1: the network is needed, and the root is the machine's.
HIGHEST_EXPOSURE: Final = 1.5
INSTANCES: Final = ("openai-usage-exporter.service", "openai-usage-exporter@acme.service")


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


def analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = required_program("systemd-analyze", strict="REQUIRE_SYSTEMD")
    return subprocess.run(
        [program, "--no-pager", *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )


def drop_ins() -> list[str]:
    about_the_exporter, _, _ = README.partition("## The trace gateway")
    return re.findall(r"^```ini\n(.*?)^```$", about_the_exporter, re.MULTILINE | re.DOTALL)


def installed(folder: Path, name: str, text: str = TEXT) -> Path:
    """Write the unit under that name, with a program that is there in the place of the installed one."""
    true = shutil.which("true")
    assert true
    assert INSTALLED in text
    unit = folder / name
    unit.write_text(text.replace(INSTALLED, true), encoding="utf-8")
    return unit


@pytest.mark.parametrize("name", INSTANCES)
def test_systemd_takes_the_unit_with_and_without_the_drop_ins_of_the_readme(name: str, tmp_path: Path) -> None:
    unit = installed(tmp_path, name)
    assert complaints(unit) == ""
    folder = tmp_path / f"{name}.d"
    folder.mkdir()
    assert len(drop_ins()) == 2
    for number, text in enumerate(drop_ins()):
        (folder / f"{number}.conf").write_text(text, encoding="utf-8")
    assert complaints(unit) == ""
    # It reads drop-ins, and says nothing only where there is nothing to say.
    (folder / "wrong.conf").write_text("[Service]\nProtectSystems=strict\n", encoding="utf-8")
    assert "ProtectSystems" in complaints(unit)


def complaints(unit: Path) -> str:
    """Return what `systemd-analyze verify` says; some mistakes it tells of, and calls the unit good."""
    done = analyze("verify", str(unit))
    return done.stdout + done.stderr or ("" if done.returncode == 0 else "it fails, and says nothing")


def exposure(unit: Path) -> float:
    done = analyze("security", "--offline=true", str(unit))
    [figure] = re.findall(r"Overall exposure level for \S+: ([0-9.]+) ", done.stdout)
    return float(figure)


def test_the_unit_is_exposed_to_little(tmp_path: Path) -> None:
    assert exposure(installed(tmp_path, UNIT.name)) <= HIGHEST_EXPOSURE
    loose = "\n".join(line for line in TEXT.splitlines() if not line.startswith(("Protect", "Restrict", "SystemCall")))
    assert exposure(installed(tmp_path, "loose.service", loose)) > HIGHEST_EXPOSURE


def test_the_exposure_that_the_readme_names_is_the_one_seen(tmp_path: Path) -> None:
    [version] = re.findall(r"^systemd (\d+)", analyze("--version").stdout)
    [named, figure] = re.findall(r"of systemd (\d+) gives an exposure of \*\*([0-9.]+)\*\*", README)[0]
    if version != named:
        pytest.skip(f"systemd {version} judges otherwise than {named}, which the README names")
    assert exposure(installed(tmp_path, UNIT.name)) == float(figure)


@pytest.mark.parametrize("name", INSTANCES)
def test_the_command_line_is_one_that_the_exporter_knows(name: str) -> None:
    program, *arguments = command(name)
    assert program == INSTALLED
    options = vars(command_line._parser().parse_args(arguments))
    stem = name.removesuffix(".service")
    assert options["config_file"] == Path(f"/etc/{stem}/exporter.yml")
    assert options["storage_path"] == Path(f"/var/lib/{expanded(setting('StateDirectory'), name)}")
    assert options["listen_address"] == ("127.0.0.1", 10185)


def test_flags_in_the_drop_ins_of_the_readme_are_known_and_the_last_ones_count() -> None:
    addresses = []
    for text in drop_ins():
        parser = ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign] # systemd's keys have capitals
        parser.read_string(text)
        _, _, flags = expanded(parser["Service"]["Environment"].strip('"'), UNIT.name).partition("=")
        options = vars(command_line._parser().parse_args([*command(UNIT.name)[1:], *flags.split()]))
        addresses.append(options["listen_address"])
        if options["web_config_file"]:
            credentials = re.findall(r"^LoadCredential=([^:]+):", text, re.MULTILINE)
            assert options["web_config_file"].name in credentials
    assert addresses == [("", 10185), ("127.0.0.1", 10187)]


def test_the_key_is_a_credential_and_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    name, _, source = setting("LoadCredential").partition(":")
    assert expanded(source, UNIT.name) == "/etc/openai-usage-exporter/admin-key"
    example = SYSTEMD / "exporter.yml"
    named = yaml.safe_load(example.read_text(encoding="utf-8"))["openai"]["admin_key_file"]
    assert named == expanded(f"%d/{name}", UNIT.name)
    assert settings(TEXT)["Environment"] == ["ARGUMENTS="]
    assert "EnvironmentFile" not in settings(TEXT)
    assert command_line.main(["check-config", f"--config.file={example}"]) == 0, capsys.readouterr().err
    assert expanded(f"admin_key_file: %d/{name}", "openai-usage-exporter@acme.service") in README


def test_what_no_restart_mends_is_not_tried_again() -> None:
    assert setting("RestartPreventExitStatus") == str(command_line.EXIT_MISCONFIGURED)
    assert setting("Restart") == "on-failure"


def lay_out(root: Path, unit: str, key: str) -> Path:
    """Write below `root` what systemd gives the unit, the state's folder and the credential its user's own."""
    etc, state, credentials = (
        Path(expanded(text, unit, root=root)) for text in ("%E/%N", f"%S/{setting('StateDirectory')}", "%d")
    )
    for folder in (etc, state, credentials):
        folder.mkdir(parents=True)
    text = (SYSTEMD / "exporter.yml").read_text(encoding="utf-8").replace(UNIT.name, unit)
    (etc / "exporter.yml").write_text(text.replace("/run/", f"{root}/run/"), encoding="utf-8")
    credential = credentials / setting("LoadCredential").partition(":")[0]
    credential.write_text(key, encoding="utf-8")
    credential.chmod(0o400)
    state.chmod(int(setting("StateDirectoryMode"), 8))
    if os.geteuid() == 0:
        for path in (state, credentials, credential):
            os.chown(path, USER, USER)
    return state


def environment(simulator: RunningSimulator) -> dict[str, str]:
    # Where bytecode cannot be written, Python does without.
    return {"OPENAI_BASE_URL": simulator.base_url, "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


def confined(words: Sequence[str]) -> list[str]:
    """Return the command under the unit's filters of system calls. Skip the test where there is no libseccomp."""
    program = required_program("systemd-analyze", strict="REQUIRE_SYSTEMD")
    try:
        ctypes.CDLL(confinement.LIBRARY)
    except OSError:
        pytest.skip(f"{confinement.LIBRARY} is not installed")
    assert (setting("SystemCallErrorNumber"), setting("MemoryDenyWriteExecute")) == ("EPERM", "yes")
    calls = confinement.allowed_calls(program, settings(TEXT)["SystemCallFilter"])
    families = confinement.family_numbers(setting("RestrictAddressFamilies"))
    python = EXPORTER[0]
    return [
        *(python, "-m", "tests.deploy.confinement", ",".join(sorted(calls)), ",".join(map(str, families))),
        *words,
    ]


def serve_reload_and_stop(words: Sequence[str], simulator: RunningSimulator, root: Path) -> Served:
    """Run an exporter through its life; return it, stopped."""
    with started(words, environment(simulator), root) as served:
        page = served.wait_for(r"^openai_up 1\.0$")
        assert "process_start_time_seconds" in page
        process = Path(f"/proc/{served.process.pid}")
        for seen in ("cmdline", "environ"):
            assert simulator.admin_key.encode() not in (process / seen).read_bytes()
        [reload] = settings(TEXT)["ExecReload"]
        assert reload.split()[1:] == ["-HUP", "$MAINPID"]
        served.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "configuration reloaded" not in served.log():
            assert time.monotonic() < deadline, served.log()
            # Another process has no clock that a test could set.
            time.sleep(0.1)
        assert served.stop() == 0
    assert simulator.admin_key not in served.log()
    assert "level=warning" not in served.log()
    return served


def test_the_exporter_lives_under_the_units_system_call_filter(simulator: RunningSimulator) -> None:
    with open_folder() as root:
        state = lay_out(root, UNIT.name, simulator.admin_key)
        words = confined([*EXPORTER, *command(UNIT.name, root=root)[1:]])
        serve_reload_and_stop(words, simulator, root)
        assert (state / "ledger.sqlite3").exists()


def test_the_exporter_lives_as_a_user_without_rights_in_all_that_confines_it(simulator: RunningSimulator) -> None:
    unit = "openai-usage-exporter@acme.service"
    with open_folder() as root:
        state = lay_out(root, unit, simulator.admin_key)
        words = unprivileged(confined([*EXPORTER, *command(unit, root=root)[1:]]), state)
        serve_reload_and_stop(words, simulator, root)
        assert (state / "ledger.sqlite3").stat().st_uid == USER


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("import os; os.chown('.', 0, 0)", "Operation not permitted"),
        ("import socket; socket.socket(socket.AF_PACKET)", "Address family not supported"),
        ("import socket; socket.socket(socket.AF_NETLINK)", "Address family not supported"),
        ("import mmap; mmap.mmap(-1, 4096, prot=7)", "Operation not permitted"),
        ("import os; os.setpriority(0, 0, 5)", "Operation not permitted"),
        ("import socket; socket.socket(); socket.socketpair()", ""),
    ],
)
def test_the_filters_of_these_tests_refuse_what_the_unit_refuses(code: str, refusal: str) -> None:
    done = subprocess.run(
        confined([EXPORTER[0], "-c", code]), capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert refusal in done.stderr
    assert done.returncode == (1 if refusal else 0), done.stderr


def test_a_user_without_rights_can_write_nothing_but_the_state_and_has_the_same_python() -> None:
    code = (
        "import os, pathlib, sys\n"
        "for folder in sys.argv[1:]:\n"
        "    try:\n"
        "        pathlib.Path(folder, 'probe').touch()\n"
        "        print('written')\n"
        "    except OSError as error:\n"
        "        print(error.strerror)\n"
        "print(os.getuid(), sys.base_prefix)\n"
    )
    with open_folder() as folder, open_folder() as other:
        for each in (folder, other):
            each.chmod(0o777)
        words = unprivileged([sys.executable, "-c", code, str(folder), str(other)], folder)
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.stdout.splitlines() == ["written", "Read-only file system", f"{USER} {sys.base_prefix}"], done.stderr
