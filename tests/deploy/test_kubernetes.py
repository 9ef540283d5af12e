"""What deploy/kubernetes builds is what Kubernetes and the operator take, and its parts fit each other."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pytest
import yaml

from exporter import command_line, health_check
from exporter.metrics.catalogue import FAMILIES, OPT_IN_LABELS
from tests.deploy.kubernetes_manifests import (
    BUILDS,
    OVERLAYS,
    Manifest,
    build,
    container,
    named,
    of_kind,
    only,
    pod,
    selects,
    written,
)
from tests.deploy.operator_objects import PrometheusRule, ServiceMonitor

CUSTOM: Final = {"PrometheusRule": PrometheusRule, "ServiceMonitor": ServiceMonitor}
# The oldest that knows all that is used (ReadWriteOncePod), and the newest there are schemas for.
KUBERNETES_VERSIONS: Final = ("1.29", "1.37")
WITH_EXPORTER: Final = tuple(folder for folder in BUILDS if folder not in {"rules", "trace-gateway"})
# Volumes that the Pod Security standard "restricted" lets a pod have.
RESTRICTED_VOLUMES: Final = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "projected", "secret"}


def shortened(manifest: Manifest) -> dict[str, Any]:
    """Return a ConfigMap with the beginnings of its texts, so that dashboards are not parsed over and over again."""
    if manifest["kind"] != "ConfigMap":
        return dict(manifest)
    data = {key: text[:100] if isinstance(text, str) else text for key, text in manifest["data"].items()}
    return {**manifest, "data": data}


def complaints(manifests: Sequence[Manifest], folder: Path) -> str:
    """Return what kubernetes-validate, strict, says of these objects of Kubernetes' own kinds; nothing is good."""
    own = [shortened(manifest) for manifest in manifests if manifest["kind"] not in CUSTOM]
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(own), encoding="utf-8")
    versions = [argument for version in KUBERNETES_VERSIONS for argument in ("-k", version)]
    done = subprocess.run(
        [sys.executable, "-m", "kubernetes_validate", "--strict", *versions, str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    passed = [line for line in lines if line.startswith("INFO ") and " passed " in line]
    # An unknown kind is a warning there, and an error here.
    if done.returncode == 0 and len(passed) == len(own) * len(KUBERNETES_VERSIONS):
        return ""
    return "\n".join([*(line for line in lines if line not in passed), done.stderr]) or "nothing was validated"


def test_every_object_as_written_is_one_that_kubernetes_takes(tmp_path: Path) -> None:
    manifests = [manifest for _, manifest in written()]
    assert {"StatefulSet", "Service", "NetworkPolicy", "ServiceAccount", "Namespace"} <= {
        manifest["kind"] for manifest in manifests
    }
    assert complaints(manifests, tmp_path) == ""


def test_every_object_as_written_is_one_that_the_operator_takes() -> None:
    custom = [manifest for _, manifest in written() if manifest["kind"] in CUSTOM]
    for manifest in custom:
        CUSTOM[manifest["kind"]].model_validate(manifest)
    assert {manifest["kind"] for manifest in custom} == set(CUSTOM)


def test_an_object_that_is_wrong_is_told_of(tmp_path: Path) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}]}}
    assert complaints([service], tmp_path) == ""
    assert "prots" in complaints([{**service, "spec": {"prots": []}}], tmp_path)
    assert "Servise" in complaints([{**service, "kind": "Servise"}], tmp_path)


@pytest.mark.parametrize("folder", BUILDS)
def test_what_kustomize_builds_is_what_kubernetes_and_the_operator_take(folder: str, tmp_path: Path) -> None:
    manifests = build(folder)
    assert complaints(manifests, tmp_path) == ""
    for manifest in manifests:
        if manifest["kind"] in CUSTOM:
            CUSTOM[manifest["kind"]].model_validate(manifest)
    identities = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in manifests]
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize("folder", WITH_EXPORTER)
def test_a_state_has_one_writer(folder: str) -> None:
    for stateful_set in of_kind(build(folder), "StatefulSet"):
        assert stateful_set["spec"]["replicas"] == 1
        [state] = stateful_set["spec"]["volumeClaimTemplates"]
        assert state["spec"]["accessModes"] in (["ReadWriteOnce"], ["ReadWriteOncePod"])


@pytest.mark.parametrize("folder", WITH_EXPORTER)
def test_each_selector_takes_its_own_pod_or_service_and_no_other(folder: str) -> None:
    manifests = build(folder)
    stateful_sets = list(of_kind(manifests, "StatefulSet"))
    services = list(of_kind(manifests, "Service"))
    assert stateful_sets
    every = (*stateful_sets, *of_kind(manifests, "Deployment"))
    pods = {each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"] for each in every}
    for name in (each["metadata"]["name"] for each in stateful_sets):
        selectors = {
            "StatefulSet": named(manifests, "StatefulSet", name)["spec"]["selector"]["matchLabels"],
            "Service": named(manifests, "Service", name)["spec"]["selector"],
            "NetworkPolicy": named(manifests, "NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"],
        }
        for kind, selector in selectors.items():
            assert [other for other, labels in pods.items() if selects(selector, labels)] == [name], kind
        monitored = named(manifests, "ServiceMonitor", name)["spec"]["selector"]["matchLabels"]
        assert [
            service["metadata"]["name"] for service in services if selects(monitored, service["metadata"]["labels"])
        ] == [name]
        assert named(manifests, "StatefulSet", name)["spec"]["serviceName"] == name
        assert pod(named(manifests, "StatefulSet", name))["serviceAccountName"] == name
        assert named(manifests, "ServiceAccount", name)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("folder", WITH_EXPORTER)
def test_one_port_goes_through_from_the_command_line_to_the_scrape(folder: str) -> None:
    manifests = build(folder)
    for stateful_set in of_kind(manifests, "StatefulSet"):
        name = stateful_set["metadata"]["name"]
        specification = container(stateful_set)
        host, number = arguments(stateful_set)["listen_address"]
        [port] = specification["ports"]
        assert (host, number) == ("", port["containerPort"])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe in specification:
                assert probed_port(specification[probe]) in {port["name"], f"--web.listen-address=:{number}"}
        [service_port] = named(manifests, "Service", name)["spec"]["ports"]
        assert (service_port["targetPort"], service_port["port"]) == (port["name"], number)
        [endpoint] = named(manifests, "ServiceMonitor", name)["spec"]["endpoints"]
        assert endpoint["port"] == service_port["name"]
        [ingress] = named(manifests, "NetworkPolicy", name)["spec"]["ingress"]
        assert ingress["ports"] == [{"port": port["name"], "protocol": "TCP"}]


def probed_port(probe: Mapping[str, Any]) -> str:
    """Return the name of the port that a probe asks, or what check-health is told of it."""
    if "exec" in probe:
        program, command, *flags = probe["exec"]["command"]
        assert (program, command) == ("openai-usage-exporter", health_check.NAME)
        [flag] = flags
        return str(flag)
    return str(probe["httpGet"]["port"])


def arguments(stateful_set: Manifest) -> Mapping[str, Any]:
    """Return what the command line makes of the container's arguments; what it does not know ends the test."""
    specification = container(stateful_set)
    assert "command" not in specification
    return vars(command_line._parser().parse_args(specification["args"]))


def mounts(stateful_set: Manifest) -> Mapping[PurePosixPath, Mapping[str, Any]]:
    """Return what is mounted where: each mount with its volume's own keys."""
    volumes = {volume["name"]: volume for volume in pod(stateful_set)["volumes"]}
    claims = {claim["metadata"]["name"]: {"claim": claim} for claim in stateful_set["spec"]["volumeClaimTemplates"]}
    assert not volumes.keys() & claims.keys()
    found = {
        PurePosixPath(mount["mountPath"]): {**mount, **{**volumes, **claims}[mount["name"]]}
        for mount in container(stateful_set)["volumeMounts"]
    }
    assert {mount["name"] for mount in found.values()} == volumes.keys() | claims.keys()
    return found


def configuration(manifests: Sequence[Manifest], stateful_set: Manifest) -> str:
    """Return the exporter.yml that the container's --config.file leads to."""
    path = PurePosixPath(arguments(stateful_set)["config_file"])
    volume = mounts(stateful_set)[path.parent]
    text = named(manifests, "ConfigMap", volume["configMap"]["name"])["data"][path.name]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("folder", WITH_EXPORTER)
def test_paths_lead_to_what_is_mounted_and_only_the_state_can_be_written(folder: str) -> None:
    manifests = build(folder)
    for stateful_set in of_kind(manifests, "StatefulSet"):
        found = mounts(stateful_set)
        state = PurePosixPath(arguments(stateful_set)["storage_path"])
        assert "claim" in found[state]
        assert [path for path, mount in found.items() if not mount.get("readOnly")] == [state]
        # Kubernetes never changes what is mounted by subPath.
        assert not any("subPath" in mount for mount in found.values())
        key = PurePosixPath(yaml.safe_load(configuration(manifests, stateful_set))["openai"]["admin_key_file"])
        secret = found[key.parent]["secret"]
        assert [item["path"] for item in secret["items"]] == [key.name]
        # The group may read, others may not.
        assert secret["defaultMode"] == 0o440


@pytest.mark.parametrize("folder", WITH_EXPORTER)
def test_configurations_pass_check_config_and_agree_with_the_scrape(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifests = build(folder)
    for stateful_set in of_kind(manifests, "StatefulSet"):
        text = configuration(manifests, stateful_set)
        file = tmp_path / "exporter.yml"
        file.write_text(text, encoding="utf-8")
        assert command_line.main(["check-config", f"--config.file={file}"]) == 0, capsys.readouterr().err
        [endpoint] = named(manifests, "ServiceMonitor", stateful_set["metadata"]["name"])["spec"]["endpoints"]
        assert endpoint["interval"] == yaml.safe_load(text)["scrape_interval"]


@pytest.mark.parametrize("folder", WITH_EXPORTER)
def test_the_pod_is_restricted_as_pod_security_means_it(folder: str) -> None:
    for stateful_set in of_kind(build(folder), "StatefulSet"):
        specification = pod(stateful_set)
        assert not specification.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"}
        assert all(volume.keys() - {"name"} <= RESTRICTED_VOLUMES for volume in specification["volumes"])
        assert specification["automountServiceAccountToken"] is False
        security = specification["securityContext"]
        assert security["runAsNonRoot"] is True
        assert [security[each] for each in ("runAsUser", "runAsGroup", "fsGroup")] == [65532, 65532, 65532]
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(stateful_set)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container(stateful_set)["resources"].keys() == {"requests", "limits"}


@pytest.mark.parametrize("folder", OVERLAYS)
def test_an_overlay_has_a_namespace_that_lets_in_nothing_less(folder: str) -> None:
    manifests = build(folder)
    namespace = only(manifests, "Namespace")
    for mode in ("enforce", "audit", "warn"):
        assert namespace["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"
    others = [manifest for manifest in manifests if manifest["kind"] != "Namespace"]
    assert {each["metadata"]["namespace"] for each in others} == {namespace["metadata"]["name"]}
    for kind in ("StatefulSet", "Deployment"):
        for workload in of_kind(manifests, kind):
            assert container(workload)["image"].startswith("registry.example.com/")


@pytest.mark.parametrize("folder", WITH_EXPORTER)
def test_only_prometheus_gets_in_and_only_dns_and_the_api_are_reached(folder: str) -> None:
    manifests = build(folder)
    for stateful_set in of_kind(manifests, "StatefulSet"):
        specification = named(manifests, "NetworkPolicy", stateful_set["metadata"]["name"])["spec"]
        assert specification["policyTypes"] == ["Ingress", "Egress"]
        [ingress] = specification["ingress"]
        monitoring = {"kubernetes.io/metadata.name": "monitoring"}
        assert ingress["from"] == [{"namespaceSelector": {"matchLabels": monitoring}}]
        names, api = specification["egress"]
        # Labels that kustomize adds must not get in here: nothing would match.
        assert names["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]
        assert {(port["protocol"], port["port"]) for port in names["ports"]} == {("UDP", 53), ("TCP", 53)}
        assert api["ports"] == [{"port": 443, "protocol": "TCP"}]
        blocks = {peer["ipBlock"]["cidr"]: peer["ipBlock"]["except"] for peer in api["to"]}
        assert blocks.keys() == {"0.0.0.0/0", "::/0"}
        # Where cloud machines keep their credentials.
        assert "169.254.0.0/16" in blocks["0.0.0.0/0"]


@pytest.mark.parametrize("folder", BUILDS)
def test_secrets_are_named_and_never_held(folder: str) -> None:
    manifests = build(folder)
    assert not list(of_kind(manifests, "Secret"))
    text = json.dumps([manifest for manifest in manifests if manifest["kind"] != "PrometheusRule"])
    assert "sk-admin-" not in text
    assert "$2" not in text
    assert "PRIVATE KEY" not in text


def test_no_label_of_ours_is_one_that_the_operator_puts_on_every_target() -> None:
    own = {label for family in FAMILIES for label in family.labels}
    own |= {name for _, names in OPT_IN_LABELS.values() for name in names}
    assert not own & {"namespace", "service", "pod", "container", "endpoint", "job", "instance", "node"}


def test_series_go_on_after_a_restart_because_their_instance_is_the_pods_lasting_name() -> None:
    monitors = [manifest for _, manifest in written() if manifest["kind"] == "ServiceMonitor"]
    assert monitors
    for monitor in monitors:
        [endpoint] = monitor["spec"]["endpoints"]
        [instance] = endpoint["relabelings"]
        assert instance["targetLabel"] == "instance"
        assert instance["sourceLabels"] == ["__meta_kubernetes_namespace", "__meta_kubernetes_pod_name"]


def test_two_organizations_share_neither_key_nor_state_nor_configuration() -> None:
    manifests = build("overlays/organizations")
    acme, globex = of_kind(manifests, "StatefulSet")
    for mine, theirs in ((acme, globex), (globex, acme)):
        name = mine["metadata"]["name"]
        [key] = [mount for mount in mounts(mine).values() if mount["name"] == "key"]
        assert key["secret"]["secretName"] == f"openai-admin-key-{name.rpartition('-')[2]}"
        assert configuration(manifests, mine) != configuration(manifests, theirs)
        [endpoint] = named(manifests, "ServiceMonitor", name)["spec"]["endpoints"]
        assert endpoint["relabelings"][1:] == [{"targetLabel": "organization", "replacement": name.rpartition("-")[2]}]
        # A claim is called after its template and the pod.
        assert name != theirs["metadata"]["name"]
    rules = [rule["metadata"]["name"] for rule in of_kind(manifests, "PrometheusRule")]
    assert len(rules) == len(set(rules))
    assert rules == [rule["metadata"]["name"] for rule in of_kind(build("base"), "PrometheusRule")]


def test_what_asks_for_a_password_is_scraped_with_it_and_probed_without() -> None:
    manifests = build("overlays/example-protected")
    stateful_set = only(manifests, "StatefulSet")
    web = PurePosixPath(arguments(stateful_set)["web_config_file"])
    sources = mounts(stateful_set)[web.parent]["projected"]["sources"]
    paths = {item["path"]: source["secret"]["name"] for source in sources for item in source["secret"]["items"]}
    assert paths.keys() == {web.name, "tls.crt", "tls.key"}
    [endpoint] = only(manifests, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["ca"]["secret"]["name"] == paths["tls.crt"]
    assert endpoint["basicAuth"]["username"]["name"] == endpoint["basicAuth"]["password"]["name"]
    assert "readinessProbe" not in container(stateful_set)
    for probe in ("startupProbe", "livenessProbe"):
        assert container(stateful_set)[probe].keys() & {"httpGet", "tcpSocket", "exec"} == {"exec"}
    # Nothing else is different.
    plain = {(each["kind"], each["metadata"]["name"]): each for each in build("overlays/example")}
    changed = {each["kind"] for each in manifests if plain[each["kind"], each["metadata"]["name"]] != each}
    assert changed == {"StatefulSet", "ServiceMonitor"}
    assert len(plain) == len(manifests)
