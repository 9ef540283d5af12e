"""The trace gateway's systemd unit: systemd takes it, it is as tight as the exporter's, and forwards and counts so."""

import os
import re
from pathlib import Path
from typing import Final

import httpx
import pytest

from exporter import command_line
from tests.deploy.systemd_unit import GATEWAY_UNIT, INSTALLED, SYSTEMD, UNIT, command, expanded, setting, settings
from tests.deploy.test_systemd import HIGHEST_EXPOSURE, README, complaints, confined, exposure, installed
from tests.deploy.unprivileged import EXPORTER, open_folder, started, unprivileged
from tests.end_to_end.test_serving import Served, free_port
from tests.trace_gateway.forwarded import OK, scripted_upstream

TEXT: Final = GATEWAY_UNIT.read_text(encoding="utf-8")
ENVIRONMENT: Final = SYSTEMD / "trace-gateway.environment"
CONFIGURATION: Final = SYSTEMD / "trace-gateway.yml"
# What is the exporter's alone: a state, a key, what reloads it; and what each unit has in its own way.
NOT_CONFINEMENT: Final = frozenset(
    {
        *(
            "Description",
            "Documentation",
            "Environment",
            "EnvironmentFile",
            "ExecStart",
            "ExecReload",
            "LoadCredential",
        ),
        *("StateDirectory", "StateDirectoryMode", "RestartSec", "StartLimitIntervalSec", "StartLimitBurst"),
        *("TimeoutStopSec", "LimitNOFILE", "MemoryMax"),
    }
)


def variables() -> dict[str, str]:
    """Return the example's environment, as systemd reads it."""
    lines = ENVIRONMENT.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def gateway_command(root: Path = Path("/")) -> list[str]:
    words = command(GATEWAY_UNIT.name, root=root, file=GATEWAY_UNIT)
    return [word.replace("${UPSTREAM}", variables()["UPSTREAM"]) for word in words]


def drop_ins() -> list[str]:
    _, _, about_the_gateway = README.partition("## The trace gateway")
    return re.findall(r"^```ini\n(.*?)^```$", about_the_gateway, re.MULTILINE | re.DOTALL)


def test_systemd_takes_the_unit_with_and_without_the_drop_in_of_the_readme(tmp_path: Path) -> None:
    unit = installed(tmp_path, GATEWAY_UNIT.name, TEXT)
    assert complaints(unit) == ""
    folder = tmp_path / f"{GATEWAY_UNIT.name}.d"
    folder.mkdir()
    [text] = drop_ins()
    (folder / "readme.conf").write_text(text, encoding="utf-8")
    assert complaints(unit) == ""
    (folder / "wrong.conf").write_text("[Service]\nProtectSystems=strict\n", encoding="utf-8")
    assert "ProtectSystems" in complaints(unit)


def test_the_unit_is_confined_as_the_exporters_is(tmp_path: Path) -> None:
    assert exposure(installed(tmp_path, GATEWAY_UNIT.name, TEXT)) <= HIGHEST_EXPOSURE
    gateways, exporters = (
        {key: values for key, values in settings(text).items() if key not in NOT_CONFINEMENT}
        for text in (TEXT, UNIT.read_text(encoding="utf-8"))
    )
    assert gateways == exporters
    # It has no state and no key, so nothing that it may write.
    assert not settings(TEXT).keys() & {"StateDirectory", "CacheDirectory", "ReadWritePaths", "LoadCredential"}


def test_the_command_line_is_one_that_is_known_and_names_what_the_readme_installs() -> None:
    program, *arguments = gateway_command()
    assert program == INSTALLED
    options = vars(command_line._parser().parse_args(arguments))
    assert options["upstream"].host == "aitracer.example.com"
    assert settings(TEXT)["Environment"] == ["ARGUMENTS="]
    assert options["config_file"] == Path("/etc/openai-trace-gateway/exporter.yml")
    assert (options["listen_address"], options["telemetry_address"]) == (("127.0.0.1", 10187), ("127.0.0.1", 10188))
    environment = expanded(setting("EnvironmentFile", GATEWAY_UNIT), GATEWAY_UNIT.name)
    for source, target in (
        (CONFIGURATION, options["config_file"]),
        (ENVIRONMENT, environment),
        (GATEWAY_UNIT, "/etc/systemd/system/"),
    ):
        assert re.search(rf"^install -m 0644 deploy/systemd/{source.name} {target}$", README, re.MULTILINE), source


def test_flags_in_the_readme_are_known_and_the_web_configuration_is_a_credential() -> None:
    [text] = drop_ins()
    [flags] = re.findall(r"^Environment=\"ARGUMENTS=(.*)\"$", text, re.MULTILINE)
    arguments = [*gateway_command()[1:], *expanded(flags, GATEWAY_UNIT.name).split()]
    options = vars(command_line._parser().parse_args(arguments))
    assert options["listen_address"] == ("", 10187)
    assert options["web_config_file"].name in re.findall(r"^LoadCredential=([^:]+):", text, re.MULTILINE)


def test_the_example_configuration_passes_check_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["check-config", f"--config.file={CONFIGURATION}"]) == 0, capsys.readouterr().err


def test_what_no_restart_mends_is_not_tried_again_and_all_else_without_end() -> None:
    assert setting("RestartPreventExitStatus", GATEWAY_UNIT) == str(command_line.EXIT_MISCONFIGURED)
    assert setting("Restart", GATEWAY_UNIT) == "on-failure"
    assert setting("StartLimitIntervalSec", GATEWAY_UNIT) == "0"


def test_it_forwards_and_counts_in_all_that_confines_it_and_writes_nothing() -> None:
    with open_folder() as root, open_folder() as writable:
        words = confined([*EXPORTER, *laid_out(root)])
        if os.geteuid() == 0:
            words = unprivileged(words, writable)
        forward_and_stop(root, words)
        assert list(writable.iterdir()) == []


def laid_out(root: Path) -> list[str]:
    """Write the example's configuration below `root`; return the arguments that name it."""
    folder = root / "etc" / GATEWAY_UNIT.stem
    folder.mkdir(parents=True)
    (folder / "exporter.yml").write_bytes(CONFIGURATION.read_bytes())
    return gateway_command(root)[1:]


def forward_and_stop(root: Path, words: list[str]) -> None:
    port = free_port()
    with scripted_upstream(lambda _: OK) as upstream:
        command_words = [*words, f"--upstream={upstream.url}", f"--web.telemetry-address=127.0.0.1:{port}"]
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        with started(command_words, environment, root) as served:
            own = Served(f"http://127.0.0.1:{port}", served.process, served._log)
            own.wait_for("^aitracer_gateway_requests_in_flight 0")
            trace = {"actionName": "support-bot", "model": "gpt-6-astra", "metrics": {"promptTokens": 7}}
            assert httpx.post(f"{served.url}/api/traces", json=trace, trust_env=False).status_code == 200
            assert upstream.wait_for_one().target == b"/api/traces"
            page = own.wait_for(r"^aitracer_gateway_requests_total\{code=\"200\"\} 1\.0$")
            assert 'aitracer_trace_tokens_total{action_group="support",' in page
            assert served.stop() == 0
    assert "level=warning" not in served.log()
    assert "level=error" not in served.log()
