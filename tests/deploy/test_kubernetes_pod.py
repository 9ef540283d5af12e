"""The container's arguments start an exporter that probes and ServiceMonitor find, with what a pod lets it do."""

import base64
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trustme
import yaml

from exporter import command_line
from exporter.simulator.server import RunningSimulator, running_simulator
from tests.deploy.kubernetes_manifests import KUBERNETES, Manifest, build, container, named, only, pod
from tests.deploy.required_programs import required_program
from tests.deploy.unprivileged import EXPORTER, USER, open_folder, started, unprivileged
from tests.end_to_end.test_serving import PATIENCE_SECONDS, Served

README: Final = (KUBERNETES / "README.md").read_text(encoding="utf-8")

Secrets = Mapping[str, Mapping[str, bytes]]

# The same commands, with no cluster to send anything to, and whatever htpasswd there is.
_WITHOUT_A_CLUSTER: Final = """
kubectl() { command kubectl "$@" --dry-run=client --output=yaml; echo ---; }
htpasswd() { "$PYTHON" -c 'import bcrypt, sys
assert sys.argv[1:] == ["-niBC", "10", ""]
print(":" + bcrypt.hashpw(sys.stdin.buffer.readline().rstrip(b"\\n"), bcrypt.gensalt(10)).decode())' "$@"; }
"""


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


def shell_blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def secrets_made_by_the_readme(folder: Path) -> Secrets:
    """Run the commands of the README's section on TLS, and return the Secrets that they would create."""
    required_program("kubectl", strict="REQUIRE_KUBECTL")
    required_program("openssl", strict="REQUIRE_KUBECTL")
    [script] = [block for block in shell_blocks() if "web.yml" in block]
    done = subprocess.run(
        [required_program("bash", strict="REQUIRE_KUBECTL"), "-euo", "pipefail", "-c", _WITHOUT_A_CLUSTER + script],
        cwd=folder,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    secrets = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert {each["metadata"]["namespace"] for each in secrets} == {"openai-usage"}
    return {
        each["metadata"]["name"]: {key: base64.b64decode(value) for key, value in each["data"].items()}
        for each in secrets
    }


def write_certificate(folder: Path) -> trustme.CA:
    authority = trustme.CA()
    certificate = authority.issue_cert("openai-usage-exporter", "127.0.0.1")
    (folder / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    (folder / "tls.key").write_bytes(certificate.private_key_pem.bytes())
    (folder / "ca.crt").write_bytes(authority.cert_pem.bytes())
    return authority


def mount(manifests: Sequence[Manifest], stateful_set: Manifest, secrets: Secrets, root: Path) -> Path:
    """Lay out below `root` what the kubelet mounts, owned and protected likewise; return the state's folder."""
    volumes = {volume["name"]: volume for volume in pod(stateful_set)["volumes"]}
    state = root
    for place in container(stateful_set)["volumeMounts"]:
        folder = root / place["mountPath"].removeprefix("/")
        folder.mkdir(parents=True)
        volume = volumes.get(place["name"])
        if volume is None:
            # fsGroup: root's, and the group may do everything.
            state = folder
            folder.chmod(0o2775)
            give_to_the_group(folder)
        elif "configMap" in volume:
            for name, text in named(manifests, "ConfigMap", volume["configMap"]["name"])["data"].items():
                (folder / name).write_text(text.replace("/etc/", f"{root}/etc/"), encoding="utf-8")
        else:
            sources = volume["projected"]["sources"] if "projected" in volume else [{"secret": volume["secret"]}]
            mode = volume[next(iter(volume.keys() - {"name"}))]["defaultMode"]
            for source in (each["secret"] for each in sources):
                data = secrets[source.get("secretName") or source["name"]]
                for item in source["items"]:
                    write_secret(folder / item["path"], data[item["key"]], mode)
    return state


def write_secret(file: Path, content: bytes, mode: int) -> None:
    file.write_bytes(content)
    give_to_the_group(file)
    file.chmod(mode)


def give_to_the_group(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, 0, USER)


def arguments(stateful_set: Manifest, root: Path) -> list[str]:
    given = [re.sub(r"=/", f"={root}/", argument) for argument in container(stateful_set)["args"]]
    assert sum(argument.count(str(root)) for argument in given) >= 2
    return given


def status_when_up(client: httpx.Client, served: Served, path: str, unwanted: int) -> int:
    """Ask until there is another answer than `unwanted`; another process has no clock that a test could set."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    status = 0
    while status in {0, unwanted}:
        assert served.process.poll() is None, served.log()
        assert time.monotonic() < deadline, served.log()
        time.sleep(0.1)
        try:
            status = client.get(f"{served.url}{path}").status_code
        except httpx.TransportError:
            status = 0
    return status


def process_status(process_id: int) -> Mapping[str, str]:
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def environment(simulator: RunningSimulator, state: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return kept | {"OPENAI_BASE_URL": simulator.base_url, "TMPDIR": str(state), "PYTHONDONTWRITEBYTECODE": "1"}


def probes(stateful_set: Manifest) -> dict[str, Any]:
    return {name: how for name, how in container(stateful_set).items() if name.endswith("Probe")}


def test_the_base_is_alive_and_ready_as_nobody_on_a_root_that_cannot_be_written(simulator: RunningSimulator) -> None:
    manifests = build("base")
    stateful_set = only(manifests, "StatefulSet")
    key = simulator.admin_key.encode()
    with open_folder() as root:
        state = mount(manifests, stateful_set, {"openai-admin-key": {"admin-key": key}}, root)
        command = unprivileged([*EXPORTER, *arguments(stateful_set, root)], state)
        with started(command, environment(simulator, state), root) as served, httpx.Client() as client:
            for how in probes(stateful_set).values():
                assert status_when_up(client, served, how["httpGet"]["path"], 503) == 200
            [endpoint] = only(manifests, "ServiceMonitor")["spec"]["endpoints"]
            assert "openai_up 1.0\n" in client.get(f"{served.url}{endpoint['path']}").text
            status = process_status(served.process.pid)
            assert status["Uid"].split() == [str(USER)] * 4
            assert (status["CapBnd"], status["CapEff"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
            assert served.stop() == 0
        assert (state / "ledger.sqlite3").stat().st_uid == USER
        assert "level=warning" not in served.log()
        assert simulator.admin_key not in served.log()


def test_the_protected_example_takes_the_secrets_that_the_readme_makes(
    simulator: RunningSimulator, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests = build("overlays/example-protected")
    stateful_set = only(manifests, "StatefulSet")
    with open_folder() as root, open_folder() as desk:
        authority = write_certificate(desk)
        made = secrets_made_by_the_readme(desk)
        secrets = {"openai-admin-key": {"admin-key": simulator.admin_key.encode()}, **made}
        state = mount(manifests, stateful_set, secrets, root)
        given = arguments(stateful_set, root)
        [web] = [argument for argument in given if argument.startswith("--web.config.file=")]
        assert command_line.main(["check-config", web]) == 0, capsys.readouterr().err

        [endpoint] = only(manifests, "ServiceMonitor")["spec"]["endpoints"]
        login = endpoint["basicAuth"]
        user, password = (
            secrets[login[each]["name"]][login[each]["key"]].decode() for each in ("username", "password")
        )
        trust = endpoint["tlsConfig"]["ca"]["secret"]
        assert secrets[trust["name"]][trust["key"]] == authority.cert_pem.bytes()
        trusting = ssl.create_default_context(cadata=secrets[trust["name"]][trust["key"]].decode())
        command = [*EXPORTER, *given]
        if os.geteuid() == 0:
            command = unprivileged(command, state)
        with (
            started(command, environment(simulator, state), root) as served,
            httpx.Client(verify=trusting) as client,
        ):
            served.url = served.url.replace("http:", f"{endpoint['scheme']}:")
            assert status_when_up(client, served, endpoint["path"], 503) == 401
            # Prometheus asks for the certificate of this name, whatever the pod's address is.
            named_as = {"sni_hostname": endpoint["tlsConfig"]["serverName"]}
            with httpx.Client(verify=trusting, auth=(user, password)) as prometheus:
                page = prometheus.get(f"{served.url}{endpoint['path']}", extensions=named_as)
            assert page.status_code == 200
            for probe in probes(stateful_set).values():
                asked = [*EXPORTER, *probe["exec"]["command"][1:-1], f"--web.listen-address={served.url[8:]}"]
                done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
                assert (done.returncode, done.stderr) == (0, "")
            assert served.stop() == 0
        assert password not in served.log()
        if os.geteuid() == 0:
            assert "level=warning" not in served.log()


def test_the_readme_names_what_is_there() -> None:
    for name in re.findall(r"\]\((?!#|http)(\S+?)(?:#\S+)?\)", README):
        assert (KUBERNETES / name).exists(), name
    for name in re.findall(r"`((?:\.\./)*[a-z-]+/[a-z/-]*)`", README):
        if name != "namespace/pod":
            assert (KUBERNETES / name).exists(), name
    first = next(block for block in shell_blocks() if "apply" in block)
    for folder in re.findall(r"deploy/kubernetes/\S+", first):
        assert (KUBERNETES.parents[1] / folder).exists(), folder
    assert set(re.findall(r"secret generic (\S+)", README)) == {
        "openai-admin-key",
        "openai-usage-exporter-tls",
        "openai-usage-exporter-scrape",
        "openai-usage-exporter-web",
    }


def test_patches_in_the_readme_can_be_applied(tmp_path: Path) -> None:
    kubectl = required_program("kubectl", strict="REQUIRE_KUBECTL")
    shutil.copytree(KUBERNETES, tmp_path / "deploy" / "kubernetes")
    shutil.copytree(KUBERNETES.parents[1] / "grafana" / "dashboards", tmp_path / "grafana" / "dashboards")
    folder = tmp_path / "deploy" / "kubernetes" / "overlays" / "yours"
    folder.mkdir()
    (folder / "my-thresholds.yaml").write_text(
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: mine}\nspec: {groups: []}\n",
        encoding="utf-8",
    )
    blocks = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]
    named_resources = (name for block in blocks for name in block.get("resources", ()))
    merged = {
        "resources": ["../../base", "../../trace-gateway", *named_resources],
        "patches": [patch for block in blocks for patch in block["patches"]],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(merged), encoding="utf-8")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    names = {each["metadata"]["name"] for each in built if each["kind"] == "PrometheusRule"}
    assert "mine" in names
    assert "openai-thresholds" not in names
    [source] = named(built, "NetworkPolicy", "openai-usage-exporter")["spec"]["ingress"][0]["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "observability"}
    _, upstream = named(built, "NetworkPolicy", "openai-trace-gateway")["spec"]["egress"]
    assert upstream["ports"] == [{"port": 8080, "protocol": "TCP"}]
