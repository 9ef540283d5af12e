"""The Compose stacks: what the compose program makes of them, and that all their files fit together."""

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from exporter.command_line import _parser, _with_default_command, main
from exporter.configuration.loading import load_configuration
from exporter.configuration.sections import Configuration
from exporter.simulator.command import EXAMPLE_CONFIGURATION
from exporter.simulator.history.making import scraped
from tests.deploy.compose_stack import (
    COMPOSE,
    KEY,
    NEEDED,
    OURS,
    ROOT,
    SIMULATED,
    STACKS,
    WITH_KEY_FILE,
    Service,
    Stack,
    commands_of,
    flags,
    load,
    run_compose,
    stack,
)
from tests.deploy.dockerfile import Instruction, parse_dockerfile, stages_of
from tests.deploy.rule_files import PROMETHEUS, RULES, rules
from tests.prometheus_tools import program

README: Final = (COMPOSE / "README.md").read_text(encoding="utf-8")
DOCKERFILE: Final = parse_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))
STANDARD: Final = {"exporter", "prometheus", "alertmanager", "grafana"}
GATEWAY: Final = "trace-gateway.yaml"
LISTENS: Final = {
    "exporter": 10185,
    "simulator": 10186,
    "trace-gateway": 10187,
    "prometheus": 9090,
    "alertmanager": 9093,
    "grafana": 3000,
}
PUBLISHED: Final = {*STANDARD, "trace-gateway"}


@pytest.fixture(scope="module", params=STACKS)
def each(request: pytest.FixtureRequest) -> Stack:
    return stack(request.param)


@pytest.fixture(scope="module")
def simulated() -> Stack:
    return stack(SIMULATED)


def of_the_image(name: str, target: str = "") -> Instruction:
    found = [each for part in stages_of(DOCKERFILE, target) for each in part.instructions if each.name == name]
    return found[-1]


def arguments(service: Service) -> Any:  # noqa: ANN401 - argparse's namespace, whose names are the command's
    return _parser().parse_args(_with_default_command(service.command or of_the_image("CMD").words()))


def scraped_by(of: Stack) -> set[str]:
    """The targets that Prometheus has, those in files too, as far as they are mounted."""
    service = of.services["prometheus"]
    folder = Path(flags(service.command)["--config.file"]).parent
    static, files = [], []
    for job in prometheus_yml(of)["scrape_configs"]:
        static += job.get("static_configs", ())
        files += [folder / name for part in job.get("file_sd_configs", ()) for name in part["files"]]
    mounted = [mount for mount in service.mounts if any(mount.target.match(str(file)) for file in files)]
    static += [group for mount in mounted for group in yaml.safe_load(mount.source.read_text(encoding="utf-8"))]
    return {target for group in static for target in group["targets"]}


def prometheus_yml(of: Stack) -> dict[str, Any]:
    service = of.services["prometheus"]
    return load(service.here(flags(service.command)["--config.file"]))


def exporter_yml(of: Stack) -> Configuration:
    service = of.services["exporter"]
    return load_configuration(service.here(arguments(service).config_file))


def check_schema(file: Path) -> "subprocess.CompletedProcess[str]":
    checker = Path(sysconfig.get_path("scripts")) / "check-jsonschema"
    return subprocess.run(
        [checker, "--builtin-schema=vendor.compose-spec", file], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("file", sorted(COMPOSE.glob("*.yaml")), ids=lambda file: file.name)
def test_the_files_follow_the_schema_of_compose(file: Path) -> None:
    checked = check_schema(file)
    assert checked.returncode == 0, checked.stdout


def test_the_schema_refuses_what_compose_does_not_know(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    text = (COMPOSE / "stack.yaml").read_text(encoding="utf-8")
    file.write_text(text.replace("healthcheck:", "health_check:"), encoding="utf-8")
    assert check_schema(file).returncode == 1


def test_one_command_starts_all_of_each_stack(each: Stack, simulated: Stack) -> None:
    is_simulated = each.project == simulated.project
    assert set(each.services) == STANDARD | ({"history", "simulator", "trace-gateway"} if is_simulated else set())
    assert not any("profiles" in service.settings for service in each.services.values())


@pytest.mark.parametrize(("file", "variable"), [(OURS, "OPENAI_ADMIN_KEY"), (WITH_KEY_FILE, "OPENAI_ADMIN_KEY_FILE")])
@pytest.mark.parametrize("value", [None, ""])
def test_without_a_key_nothing_starts_and_the_message_says_what_to_do(
    file: str, variable: str, value: str | None
) -> None:
    done = run_compose(file, environment={} if value is None else {variable: value})
    assert (done.returncode, done.stdout) == (1, "")
    assert f"required variable {variable} is missing a value" in done.stderr
    assert re.search(r"an admin key is needed", done.stderr)
    assert "compose.simulated.yaml needs none" in done.stderr


def test_the_key_reaches_the_exporter_and_nobody_else() -> None:
    ours = stack(OURS)
    assert ours.services["exporter"].environment == {"OPENAI_ADMIN_KEY": KEY}
    assert ours.text.count(KEY) == 1


def test_a_key_file_is_mounted_where_the_exporter_reads_it() -> None:
    with_file = stack(WITH_KEY_FILE)
    exporter = with_file.services["exporter"]
    [secret] = exporter.settings["secrets"]
    assert exporter_yml(with_file).openai.admin_key_file == Path("/run/secrets", secret["source"])
    assert secret.get("target", "/run/secrets/openai-admin-key") == "/run/secrets/openai-admin-key"
    assert exporter.environment == {}
    assert NEEDED[WITH_KEY_FILE]["OPENAI_ADMIN_KEY_FILE"] in with_file.text
    assert [name for name, service in with_file.services.items() if "secrets" in service.settings] == ["exporter"]


def test_the_simulated_stack_takes_no_key_of_yours_and_shares_no_volume_with_your_data() -> None:
    simulated = stack(SIMULATED, environment=NEEDED[OURS] | NEEDED[WITH_KEY_FILE])
    assert KEY not in simulated.text
    ours, with_file = stack(OURS), stack(WITH_KEY_FILE)
    assert ours.volumes == with_file.volumes
    assert not set(ours.volumes.values()) & set(simulated.volumes.values())
    assert ours.project == with_file.project != simulated.project


def test_every_service_is_without_rights_and_on_a_root_that_cannot_be_written(each: Stack) -> None:
    for service in each.services.values():
        settings = service.settings
        assert settings["read_only"] is True
        assert settings["cap_drop"] == ["ALL"]
        assert settings["security_opt"] == ["no-new-privileges:true"]
        risky = {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "userns_mode", "group_add"}
        assert not risky & settings.keys()
        assert not settings.get("user", "1").startswith(("0", "root"))


def test_nothing_is_published_beyond_this_machine_and_each_port_is_listened_on(each: Stack) -> None:
    published = {
        name: [(port["host_ip"], int(port["published"]), port["target"]) for port in service.settings.get("ports", ())]
        for name, service in each.services.items()
    }
    expected = {name: [("127.0.0.1", LISTENS[name], LISTENS[name])] for name in PUBLISHED}
    assert published == {name: expected.get(name, []) for name in each.services}
    assert arguments(each.services["exporter"]).listen_address == ("", LISTENS["exporter"])


def test_images_are_pinned_or_built_here(each: Stack) -> None:
    for service in each.services.values():
        image = service.settings["image"]
        if service.is_ours:
            # Somebody else's image of that name in a registry must never be taken.
            assert service.settings["pull_policy"] == "build"
            assert image in {"openai-usage-exporter", "openai-usage-exporter-history"}
            assert Path(service.settings["build"]["context"]) == ROOT
        else:
            assert re.fullmatch(r"(prom|grafana)/[a-z]+:v?\d+\.\d+\.\d+", image)
            assert image in README
    assert each.services["prometheus"].settings["image"] == DOCKERFILE.arguments["PROMETHEUS"]


def test_what_is_mounted_is_in_the_project_and_cannot_be_written(each: Stack) -> None:
    for service in each.services.values():
        for mount in service.mounts:
            assert mount.read_only
            assert mount.source.exists(), mount
            assert mount.source.is_relative_to(ROOT)


def test_the_image_s_only_writable_folder_is_a_volume_wherever_it_runs(each: Stack) -> None:
    [folder] = of_the_image("VOLUME").words()
    for service in each.services.values():
        if service.is_ours:
            tmpfs = service.settings.get("tmpfs", [])
            assert (service.volumes.get(folder) == "state") != (tmpfs == [folder])
    assert each.services["exporter"].volumes[folder] == "state"


def test_whoever_is_waited_for_can_be_waited_for(each: Stack) -> None:
    for service in each.services.values():
        for name, wanted in service.settings.get("depends_on", {}).items():
            other = each.services[name].settings
            match wanted["condition"]:
                case "service_completed_successfully":
                    assert other["restart"] == "no"
                case "service_healthy":
                    assert "test" in other["healthcheck"]
                case condition:
                    assert condition == "service_started"
        is_watched = "healthcheck" in service.settings or of_the_image("HEALTHCHECK").words()[0] == "CMD"
        assert is_watched
        assert service.settings["restart"] == ("no" if service.name == "history" else "unless-stopped")


def test_prometheus_and_the_exporter_go_on_from_the_history_and_begin_after_it(simulated: Stack) -> None:
    history, exporter, prometheus = (simulated.services[name] for name in ("history", "exporter", "prometheus"))
    for name in ("exporter", "simulator", "prometheus"):
        waits = simulated.services[name].settings["depends_on"]["history"]
        assert waits["condition"] == "service_completed_successfully"
    past, now = arguments(history), arguments(exporter)
    assert history.volumes[str(past.storage_path)] == exporter.volumes[str(now.storage_path)]
    assert now.same_organization
    assert history.here(past.config_file) == exporter.here(now.config_file)
    data = flags(prometheus.command)["--storage.tsdb.path"]
    assert history.volumes[str(past.prometheus_data)] == prometheus.volumes[data]
    assert Path(history.environment["TMPDIR"]) == past.prometheus_data
    assert prometheus.settings["user"] == of_the_image("USER", "simulated-history").text
    assert history.settings["build"]["target"] == "simulated-history"
    assert past.seed == arguments(simulated.services["simulator"]).seed


def test_the_history_has_the_labels_that_prometheus_gives_to_what_it_scrapes(simulated: Stack) -> None:
    past = arguments(simulated.services["history"])
    labels = scraped(past.exporter_instance, past.traces_instance)
    expected = {
        f'job="{job["job_name"]}",instance="{target}"'
        for job in prometheus_yml(simulated)["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    }
    assert len(expected) == 2
    assert {labels.exporter, labels.traces} == expected


def test_the_history_records_every_rule_that_prometheus_will(simulated: Stack) -> None:
    history = simulated.services["history"]
    named = [history.here(path) for path in arguments(history).prometheus_rules]
    recording = {rule.file for rule in rules(*RULES) if not rule.is_alert}
    assert sorted(named) == sorted({*recording, PROMETHEUS / "rules/adapters/aitracer.yml"})


def test_the_simulator_is_the_exporter_s_api_and_tells_traces_from_where_the_history_ends(simulated: Stack) -> None:
    simulator, exporter = simulated.services["simulator"], simulated.services["exporter"]
    assert arguments(simulator).listen_address == ("", LISTENS["simulator"])
    assert exporter.environment["OPENAI_BASE_URL"] == f"http://simulator:{LISTENS['simulator']}/v1"
    assert "--traces.since=now" in simulator.command
    assert f":{LISTENS['simulator']}/" in simulator.settings["healthcheck"]["test"][-1]


def test_simulated_traces_go_through_the_gateway_which_alone_is_scraped_for_them(simulated: Stack) -> None:
    simulator, gateway = simulated.services["simulator"], simulated.services["trace-gateway"]
    address = f"trace-gateway:{LISTENS['trace-gateway']}"
    assert arguments(simulator).send_traces_to == f"http://{address}"
    assert simulator.settings["depends_on"]["trace-gateway"]["condition"] == "service_healthy"
    upstream = arguments(gateway).upstream
    assert (upstream.scheme, upstream.netloc) == ("http", f"simulator:{LISTENS['simulator']}")
    # A new series stands at 0 for a scrape interval.
    assert gateway.here(arguments(gateway).config_file) == simulated.services["exporter"].here(
        arguments(simulated.services["exporter"]).config_file
    )
    assert {target for target in scraped_by(simulated) if "exporter" not in target} == {address}
    assert arguments(simulated.services["history"]).traces_instance == address


@pytest.mark.parametrize("file", [OURS, WITH_KEY_FILE])
def test_a_gateway_is_put_in_front_of_your_aitracer_where_its_address_is_given(file: str) -> None:
    refused = run_compose(file, GATEWAY, environment=NEEDED[file])
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "AITRACER_URL is missing a value: the address of your AITracer is needed" in refused.stderr
    mine = stack(file, GATEWAY, environment=NEEDED[file] | {"AITRACER_URL": "https://mine.example/below"})
    gateway, without = mine.services["trace-gateway"], stack(file)
    assert set(mine.services) == {*without.services, "trace-gateway"}
    upstream = arguments(gateway).upstream
    assert (upstream.scheme, upstream.netloc, upstream.prefix) == ("https", "mine.example", "/below")
    assert gateway.here(arguments(gateway).config_file).is_file()
    # No key of OpenAI's comes near it.
    assert gateway.environment == {}
    assert "secrets" not in gateway.settings
    assert scraped_by(mine) - scraped_by(without) == {f"trace-gateway:{LISTENS['trace-gateway']}"}


def test_the_gateway_listens_where_it_is_published_and_asked_for_its_health(simulated: Stack) -> None:
    mine = stack(OURS, GATEWAY, environment=NEEDED[OURS] | {"AITRACER_URL": "https://mine.example"})
    for gateway in (simulated.services["trace-gateway"], mine.services["trace-gateway"]):
        assert arguments(gateway).listen_address == ("", LISTENS["trace-gateway"])
        command, program_, *checking = gateway.settings["healthcheck"]["test"]
        assert (command, program_) == ("CMD", of_the_image("ENTRYPOINT").words()[0])
        asked = _parser().parse_args(checking)
        assert (asked.run.__module__, asked.listen_address) == (
            "exporter.health_check",
            ("", LISTENS["trace-gateway"]),
        )
        [port] = gateway.settings["ports"]
        assert (port["host_ip"], port["target"]) == ("127.0.0.1", LISTENS["trace-gateway"])


def test_the_commands_of_our_services_are_those_of_the_command_line(each: Stack) -> None:
    ran = {name: arguments(service) for name, service in each.services.items() if service.is_ours}
    others = {"history": "_simulate_history", "simulator": "_simulate", "trace-gateway": "run"}
    assert {name: parsed.run.__name__ for name, parsed in ran.items()} == {
        name: others.get(name, "_serve") for name in ran
    }


@pytest.mark.parametrize(
    ("name", "command"), [("prometheus", "prometheus"), ("alertmanager", "prometheus-alertmanager")]
)
def test_prometheus_and_alertmanager_know_their_flags(each: Stack, name: str, command: str) -> None:
    told = subprocess.run([program(command), "--help"], capture_output=True, text=True, check=False, timeout=60)
    known = set(re.findall(r"(--[a-z][\w.-]+)", told.stdout + told.stderr))
    given = {argument.partition("=")[0] for argument in each.services[name].command}
    assert given
    assert given <= known


def test_prometheus_keeps_more_than_the_rules_look_back_and_has_a_volume_for_it(each: Stack) -> None:
    prometheus = each.services["prometheus"]
    given = flags(prometheus.command)
    assert given["--storage.tsdb.retention.time"] == "40d"
    assert prometheus.volumes == {given["--storage.tsdb.path"]: "prometheus"}
    alertmanager = each.services["alertmanager"]
    assert alertmanager.volumes == {flags(alertmanager.command)["--storage.path"]: "alertmanager"}


def test_promtool_accepts_prometheus_configuration_with_every_rule(each: Stack, tmp_path: Path) -> None:
    service = each.services["prometheus"]
    service.lay_out(tmp_path)
    file = tmp_path / flags(service.command)["--config.file"].removeprefix("/")
    checked = subprocess.run(
        [program("promtool"), "check", "config", file], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    for loaded in (*(rule.name for rule in RULES), "adapters/aitracer.yml"):
        assert f"rules/{loaded}" in checked.stdout


def test_prometheus_scrapes_and_tells_services_of_its_stack_where_they_listen(each: Stack) -> None:
    told = {
        target
        for part in prometheus_yml(each)["alerting"]["alertmanagers"]
        for group in part["static_configs"]
        for target in group["targets"]
    }
    scraped_here = {"exporter", "trace-gateway"} & each.services.keys()
    assert scraped_by(each) | told == {f"{name}:{LISTENS[name]}" for name in {*scraped_here, "alertmanager"}}


def test_exporter_and_prometheus_have_one_scrape_interval(each: Stack) -> None:
    in_seconds = {"15s": 15, "1m": 60}
    scraping = prometheus_yml(each)["global"]
    assert scraping["scrape_interval"] == scraping["evaluation_interval"]
    assert in_seconds[scraping["scrape_interval"]] == exporter_yml(each).scrape_interval.total_seconds()


def test_the_exporter_s_configurations_are_good(each: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    file = each.services["exporter"].here(arguments(each.services["exporter"]).config_file)
    assert main(["check-config", f"--config.file={file}"]) == 0
    assert "this configuration is good" in capsys.readouterr().out


def test_the_simulated_organization_is_mapped_as_in_the_package_and_shown_by_key_and_user(simulated: Stack) -> None:
    shipped, here = load_configuration(EXAMPLE_CONFIGURATION), exporter_yml(simulated)
    assert (here.workflows, here.budgets, here.directory) == (shipped.workflows, shipped.budgets, shipped.directory)
    assert here.labels.switched_on == {"api_key", "user"}
    same = {"polling": here.polling, "scrape_interval": here.scrape_interval, "labels": here.labels}
    assert shipped.model_copy(update=same) == here


def test_amtool_accepts_alertmanager_s_configuration_and_it_tells_nobody(each: Stack, tmp_path: Path) -> None:
    service = each.services["alertmanager"]
    service.lay_out(tmp_path)
    file = tmp_path / flags(service.command)["--config.file"].removeprefix("/")
    checked = subprocess.run(
        [program("amtool"), "check-config", file], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert load(file)["receivers"] == [{"name": "web-page"}]


@pytest.mark.parametrize(
    ("variable", "service", "target"),
    [
        ("EXPORTER_FOLDER", "exporter", "/etc/openai-usage-exporter"),
        ("ALERTMANAGER_FOLDER", "alertmanager", "/etc/alertmanager"),
    ],
)
@pytest.mark.parametrize("file", [OURS, WITH_KEY_FILE])
def test_a_folder_of_your_own_takes_the_place_of_the_stack_s(
    file: str, variable: str, service: str, target: str
) -> None:
    mounts = stack(file, environment=NEEDED[file] | {variable: "/etc/mine"}).services[service].mounts
    assert [str(mount.source) for mount in mounts if str(mount.target) == target] == ["/etc/mine"]


def test_grafana_has_no_account_until_you_give_a_password() -> None:
    ours = stack(OURS).services["grafana"].environment
    assert ours["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == ours["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert (ours["GF_AUTH_ANONYMOUS_ORG_ROLE"], ours["GF_AUTH_BASIC_ENABLED"]) == ("Viewer", "false")
    assert not any("PASSWORD" in name for name in ours)
    for file in STACKS:
        refused = run_compose(file, "grafana-admin.yaml", environment=NEEDED[file])
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "GRAFANA_ADMIN_PASSWORD is missing a value" in refused.stderr
        given = NEEDED[file] | {"GRAFANA_ADMIN_PASSWORD": "a-good-one"}
        mine = stack(file, "grafana-admin.yaml", environment=given).services["grafana"].environment
        assert mine["GF_SECURITY_ADMIN_PASSWORD"] == "a-good-one"
        assert mine["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == mine["GF_AUTH_DISABLE_LOGIN_FORM"] == "false"
        changed = {name for name in mine.keys() | ours.keys() if mine.get(name) != ours.get(name)}
        assert len(changed) == 3


def test_no_secret_is_in_any_file() -> None:
    for file in (path for path in COMPOSE.rglob("*") if path.is_file()):
        text = file.read_text(encoding="utf-8")
        assert set(re.findall(r"sk-[\w…-]+", text)) <= {"sk-admin-simulated", "sk-admin-…"}, file
        for value in re.findall(r"(?:PASSWORD|KEY|TOKEN): (\S+)|(?:PASSWORD|KEY|TOKEN)=(\S+)", text):
            assert re.match(r'\$\{|"\$\(|sk-admin-', "".join(value)), (file, value)


def test_the_readme_names_every_file_variable_and_port_and_its_commands_work() -> None:
    files = [path for path in COMPOSE.rglob("*") if path.is_file() and path.name != "README.md"]
    for path in files:
        assert f"`{path.relative_to(COMPOSE).as_posix()}`" in README
    variables = {name for path in files for name in re.findall(r"\$\{(\w+)", path.read_text(encoding="utf-8"))}
    assert variables == set(re.findall(r"^\| `([A-Z_]+)` \|", README, re.MULTILINE))
    for name in STANDARD:
        assert f"http://localhost:{LISTENS[name]}/" in README
    commands = commands_of(README)
    assert len(commands) > 7
    for words in commands:
        for file in (words[at + 1] for at, word in enumerate(words) if word == "-f"):
            assert (ROOT / file).is_file(), words
    assert {words[words.index("--project-name") + 1] for words in commands if "--project-name" in words} == {
        stack(OURS).project
    }
