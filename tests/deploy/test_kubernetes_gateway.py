"""The trace gateway on Kubernetes: its objects fit each other, copies come and go, and its arguments start one."""

import os
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import httpx
import pytest
import trustme
import yaml

from exporter import command_line
from tests.deploy.kubernetes_manifests import Manifest, build, container, named, of_kind, only, pod, selects
from tests.deploy.test_kubernetes_pod import write_secret
from tests.deploy.unprivileged import EXPORTER, USER, open_folder, started, unprivileged
from tests.end_to_end.test_serving import PATIENCE_SECONDS, Served, free_port
from tests.trace_gateway.forwarded import OK, scripted_upstream

NAME: Final = "openai-trace-gateway"
BUILDS_WITH_GATEWAY: Final = ("trace-gateway", "overlays/example-trace-gateway")

with_gateway = pytest.mark.parametrize("folder", BUILDS_WITH_GATEWAY)


def deployment(manifests: Sequence[Manifest]) -> Manifest:
    return only(manifests, "Deployment")


def given(manifests: Sequence[Manifest]) -> list[str]:
    """Return the container's arguments with its environment put in, as the kubelet does."""
    specification = container(deployment(manifests))
    [upstream] = specification["env"]
    source = upstream["valueFrom"]["configMapKeyRef"]
    value = named(manifests, "ConfigMap", source["name"])["data"][source["key"]]
    arguments = [argument.replace(f"$({upstream['name']})", value) for argument in specification["args"]]
    assert not any("$(" in argument for argument in arguments)
    assert "command" not in specification
    return arguments


def options(manifests: Sequence[Manifest]) -> Mapping[str, Any]:
    """Return what the command line makes of the arguments; what it does not know ends the test."""
    return vars(command_line._parser().parse_args(given(manifests)))


def volumes(manifests: Sequence[Manifest]) -> Mapping[PurePosixPath, Mapping[str, Any]]:
    """Return each volume by where it is mounted; none can be written."""
    mounts = container(deployment(manifests))["volumeMounts"]
    assert all(mount["readOnly"] and "subPath" not in mount for mount in mounts)
    named_volumes = {volume["name"]: volume for volume in pod(deployment(manifests))["volumes"]}
    assert {mount["name"] for mount in mounts} == named_volumes.keys()
    return {PurePosixPath(mount["mountPath"]): named_volumes[mount["name"]] for mount in mounts}


def configuration(manifests: Sequence[Manifest]) -> tuple[str, str]:
    """Return the name of the ConfigMap that --config.file leads into, and what that file says."""
    path = PurePosixPath(options(manifests)["config_file"])
    volume = volumes(manifests)[path.parent]
    [item] = volume["configMap"]["items"]
    assert item["path"] == path.name
    config_map = volume["configMap"]["name"]
    return config_map, named(manifests, "ConfigMap", config_map)["data"][item["key"]]


@with_gateway
def test_selectors_take_the_gateways_pods_and_no_others(folder: str) -> None:
    manifests = build(folder)
    workloads = (*of_kind(manifests, "Deployment"), *of_kind(manifests, "StatefulSet"))
    pods = {each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"] for each in workloads}
    [spread] = pod(deployment(manifests))["topologySpreadConstraints"]
    selectors = [
        deployment(manifests)["spec"]["selector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
        named(manifests, "Service", NAME)["spec"]["selector"],
        named(manifests, "Service", f"{NAME}-metrics")["spec"]["selector"],
        named(manifests, "NetworkPolicy", NAME)["spec"]["podSelector"]["matchLabels"],
        named(manifests, "PodDisruptionBudget", NAME)["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert [name for name, labels in pods.items() if selects(selector, labels)] == [NAME]
    assert pod(deployment(manifests))["serviceAccountName"] == NAME
    assert named(manifests, "ServiceAccount", NAME)["automountServiceAccountToken"] is False


@with_gateway
def test_applications_get_a_balanced_address_and_prometheus_every_copy(folder: str) -> None:
    manifests = build(folder)
    ports = {port["name"]: port["containerPort"] for port in container(deployment(manifests))["ports"]}
    assert options(manifests)["listen_address"] == ("", ports["traces"])
    assert options(manifests)["telemetry_address"] == ("", ports["metrics"])
    for service, name in ((NAME, "traces"), (f"{NAME}-metrics", "metrics")):
        [port] = named(manifests, "Service", service)["spec"]["ports"]
        assert (port["name"], port["port"], port["targetPort"]) == (name, ports[name], name)
    assert "clusterIP" not in named(manifests, "Service", NAME)["spec"]
    each_copy = named(manifests, "Service", f"{NAME}-metrics")["spec"]
    # A copy that is about to end is not ready, and is scraped to the end.
    assert (each_copy["clusterIP"], each_copy["publishNotReadyAddresses"]) == ("None", True)
    monitor = named(manifests, "ServiceMonitor", NAME)["spec"]
    [endpoint] = monitor["endpoints"]
    monitored = [
        service["metadata"]["name"]
        for service in of_kind(manifests, "Service")
        if selects(monitor["selector"]["matchLabels"], service["metadata"]["labels"])
        and any(port["name"] == endpoint["port"] for port in service["spec"]["ports"])
    ]
    assert monitored == [f"{NAME}-metrics"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container(deployment(manifests))[probe]["httpGet"]["port"] == "metrics"


@with_gateway
def test_a_copy_that_ends_is_scraped_once_more_and_has_time_to_drain(folder: str) -> None:
    manifests = build(folder)
    [endpoint] = named(manifests, "ServiceMonitor", NAME)["spec"]["endpoints"]
    assert endpoint["interval"] == "1m"
    [program, seconds] = container(deployment(manifests))["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    assert int(seconds) > 60
    # How long the gateway itself takes at most: gateway.py's stop_timeout, and forwarding.py's wait for answers.
    assert pod(deployment(manifests))["terminationGracePeriodSeconds"] >= int(seconds) + 25 + 30
    rolling = deployment(manifests)["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 1, "maxUnavailable": 0}
    # Works with one copy and with many.
    assert named(manifests, "PodDisruptionBudget", NAME)["spec"]["maxUnavailable"] == 1


@with_gateway
def test_only_applications_and_prometheus_get_in_and_only_dns_and_aitracer_are_reached(folder: str) -> None:
    specification = named(build(folder), "NetworkPolicy", NAME)["spec"]
    assert specification["policyTypes"] == ["Ingress", "Egress"]
    let_in = {
        port["port"]: rule["from"][0]["namespaceSelector"]["matchLabels"]
        for rule in specification["ingress"]
        for port in rule["ports"]
        if len(rule["from"]) == 1
    }
    assert let_in == {"traces": {"sends-traces": "true"}, "metrics": {"kubernetes.io/metadata.name": "monitoring"}}
    names, upstream = specification["egress"]
    assert names["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]
    assert upstream["ports"] == [{"port": 443, "protocol": "TCP"}]
    blocks = {peer["ipBlock"]["cidr"]: peer["ipBlock"]["except"] for peer in upstream["to"]}
    assert blocks.keys() == {"0.0.0.0/0", "::/0"}
    assert "169.254.0.0/16" in blocks["0.0.0.0/0"]


@with_gateway
def test_the_pod_is_restricted_as_the_exporters_is(folder: str) -> None:
    workload = deployment(build(folder))
    specification = pod(workload)
    assert not specification.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"}
    assert specification["automountServiceAccountToken"] is False
    # The group is for the certificate's key.
    assert specification["securityContext"].get("fsGroup", USER) == USER
    assert {key: value for key, value in specification["securityContext"].items() if key != "fsGroup"} == {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(workload)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(workload)["resources"].keys() == {"requests", "limits"}


@with_gateway
def test_its_configuration_passes_check_config_and_agrees_with_the_scrape(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests = build(folder)
    _, text = configuration(manifests)
    file = tmp_path / "exporter.yml"
    file.write_text(text, encoding="utf-8")
    assert command_line.main(["check-config", f"--config.file={file}"]) == 0, capsys.readouterr().err
    [endpoint] = named(manifests, "ServiceMonitor", NAME)["spec"]["endpoints"]
    assert endpoint["interval"] == yaml.safe_load(text)["scrape_interval"]


def test_the_example_has_an_upstream_of_its_own_and_one_mapping_for_the_bill_and_for_traces() -> None:
    plain, example = (build(folder) for folder in BUILDS_WITH_GATEWAY)
    assert options(plain)["upstream"].host == "aitracer.example.com"
    assert options(example)["upstream"].host == "traces.example.com"
    name, text = configuration(example)
    [exporters] = pod(only(example, "StatefulSet"))["volumes"][:1]
    assert exporters["configMap"]["name"] == name
    assert yaml.safe_load(text)["workflows"]


def test_the_autoscaler_scales_by_cores_and_leaves_the_number_of_copies_to_itself() -> None:
    manifests = build("overlays/example-trace-gateway")
    scaler = only(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    assert "replicas" not in deployment(manifests)["spec"]
    assert deployment(build("trace-gateway"))["spec"]["replicas"] == scaler["minReplicas"] == 2
    [metric] = scaler["metrics"]
    # A share of the request would mean something else with every change of the request.
    assert metric["resource"]["target"] == {"type": "AverageValue", "averageValue": "500m"}
    assert "cpu" not in container(deployment(manifests))["resources"]["limits"]


def test_the_example_speaks_tls_with_applications_prometheus_and_the_kubelet() -> None:
    manifests = build("overlays/example-trace-gateway")
    web = PurePosixPath(options(manifests)["web_config_file"])
    projected = volumes(manifests)[web.parent]["projected"]
    assert projected["defaultMode"] == 0o440
    sources = {kind: each for source in projected["sources"] for kind, each in source.items()}
    assert [item["path"] for item in sources["configMap"]["items"]] == [web.name]
    settings = yaml.safe_load(named(manifests, "ConfigMap", sources["configMap"]["name"])["data"][web.name])
    files = {item["path"] for item in sources["secret"]["items"]}
    assert files == {settings["tls_server_config"][each] for each in ("cert_file", "key_file")}
    [endpoint] = named(manifests, "ServiceMonitor", NAME)["spec"]["endpoints"]
    assert (endpoint["scheme"], endpoint["tlsConfig"]["serverName"]) == ("https", NAME)
    assert endpoint["tlsConfig"]["ca"]["secret"]["name"] == sources["secret"]["name"]
    assert {how["httpGet"]["scheme"] for how in probes(manifests)} == {"HTTPS"}
    assert {how["httpGet"].get("scheme", "HTTP") for how in probes(build("trace-gateway"))} == {"HTTP"}


def probes(manifests: Sequence[Manifest]) -> list[Mapping[str, Any]]:
    return [how for name, how in container(deployment(manifests)).items() if name.endswith("Probe")]


def lay_out(manifests: Sequence[Manifest], root: Path) -> ssl.SSLContext:
    """Write below `root` what the kubelet mounts, owned and protected likewise; return who trusts its certificate."""
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    secret = {
        "tls.crt": b"".join(pem.bytes() for pem in certificate.cert_chain_pems),
        "tls.key": certificate.private_key_pem.bytes(),
    }
    for place, volume in volumes(manifests).items():
        folder = root / place.relative_to("/")
        folder.mkdir(parents=True)
        if "configMap" in volume:
            (folder / "exporter.yml").write_text(configuration(manifests)[1], encoding="utf-8")
            continue
        for source in volume["projected"]["sources"]:
            [kind] = source
            data = secret if kind == "secret" else named(manifests, "ConfigMap", source[kind]["name"])["data"]
            for item in source[kind]["items"]:
                content = data[item["key"]]
                write_secret(
                    folder / item["path"],
                    content if isinstance(content, bytes) else content.encode(),
                    volume["projected"]["defaultMode"],
                )
    return ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())


def test_the_example_forwards_and_counts_as_nobody_on_a_root_that_cannot_be_written() -> None:
    manifests = build("overlays/example-trace-gateway")
    with open_folder() as root, open_folder() as writable, scripted_upstream(lambda _: OK) as upstream:
        trusting = lay_out(manifests, root)
        port = free_port()
        arguments = [
            *(re.sub(r"=/", f"={root}/", argument) for argument in given(manifests)),
            f"--upstream={upstream.url}",
            f"--web.telemetry-address=127.0.0.1:{port}",
        ]
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        command = unprivileged([*EXPORTER, *arguments], writable)
        # Applications, Prometheus and the certificate know it by its name; the address is the test's.
        name = {"sni_hostname": NAME}
        with started(command, environment, root) as served, httpx.Client(verify=trusting, trust_env=False) as client:
            own = f"https://127.0.0.1:{port}"
            wait_until_it_listens(client, served, own)
            for how in probes(manifests):
                assert client.get(f"{own}{how['httpGet']['path']}", extensions=name).status_code == 200
            trace = {"actionName": "support-bot", "model": "gpt-6-astra", "metrics": {"promptTokens": 7}}
            ingest = f"{served.url.replace('http:', 'https:')}/api/traces"
            assert client.post(ingest, json=trace, extensions=name).status_code == 200
            [endpoint] = named(manifests, "ServiceMonitor", NAME)["spec"]["endpoints"]
            page = client.get(f"{own}{endpoint['path']}", extensions=name).text
            # The exporter's mapping lends the action group.
            assert 'aitracer_trace_tokens_total{action_group="support",' in page
            assert 'aitracer_gateway_requests_total{code="200"} 1.0' in page
            assert served.stop() == 0
        assert list(writable.iterdir()) == []
        assert "level=error" not in served.log()
        assert "level=warning" not in served.log()


def wait_until_it_listens(client: httpx.Client, served: Served, url: str) -> None:
    """Ask until there is an answer; another process has no clock that a test could set."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            client.get(f"{url}/-/healthy", extensions={"sni_hostname": NAME})
        except httpx.TransportError:
            assert served.process.poll() is None, served.log()
            assert time.monotonic() < deadline, served.log()
            time.sleep(0.1)
        else:
            return
