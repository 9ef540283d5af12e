"""What deploy/kubernetes gives a cluster, read: as written, and as kustomize puts it together."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.deploy.required_programs import required_program
from tests.deploy.rule_files import PROMETHEUS

ROOT: Final = PROMETHEUS.parents[1]
KUBERNETES: Final = ROOT / "deploy" / "kubernetes"

Manifest = Mapping[str, Any]
"""An object of Kubernetes as YAML has it."""

OVERLAYS: Final = tuple(
    str(file.parent.relative_to(KUBERNETES)) for file in sorted(KUBERNETES.glob("overlays/*/kustomization.yaml"))
)
BUILDS: Final = ("exporter", "trace-gateway", "rules", "base", *OVERLAYS)
"""Folders that somebody may apply."""

_FOR_KUSTOMIZE: Final = "kustomize.config.k8s.io/"
# The same in C where PyYAML was built with it: a build with dashboards is a megabyte.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def build(folder: str) -> Sequence[Manifest]:
    """Return what `kubectl kustomize` makes of a folder; without kubectl, skip the test or fail it."""
    return _build(required_program("kubectl", strict="REQUIRE_KUBECTL"), folder)


@cache
def _build(kubectl: str, folder: str) -> Sequence[Manifest]:
    done = subprocess.run(
        [kubectl, "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    # A warning, such as about a deprecated field, becomes tomorrow's error.
    assert done.stderr == ""
    return tuple(yaml.load_all(done.stdout, _LOADER))


@cache
def written() -> Sequence[tuple[Path, Manifest]]:
    """Return every complete object that stands in a file of its own; no kustomizations, and no patches."""
    found: list[tuple[Path, Manifest]] = []
    for file in sorted(KUBERNETES.rglob("*.yaml")):
        if "components" in file.relative_to(KUBERNETES).parts:
            continue
        documents = yaml.load_all(file.read_text(encoding="utf-8"), _LOADER)
        # Files that only kustomize reads may hold a list.
        objects = (document for document in documents if isinstance(document, dict))
        found += [(file, each) for each in objects if not each["apiVersion"].startswith(_FOR_KUSTOMIZE)]
    return tuple(found)


def of_kind(manifests: Sequence[Manifest], kind: str) -> Iterator[Manifest]:
    """Yield the objects of a kind."""
    return (manifest for manifest in manifests if manifest["kind"] == kind)


def only(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """Return the one object of a kind; more or none is an error."""
    [found] = of_kind(manifests, kind)
    return found


def named(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest:
    """Return the object of that kind and name."""
    [found] = [each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name]
    return found


def pod(workload: Manifest) -> Mapping[str, Any]:
    """Return the specification of the pods that a StatefulSet or Deployment makes."""
    specification: Mapping[str, Any] = workload["spec"]["template"]["spec"]
    return specification


def container(workload: Manifest) -> Mapping[str, Any]:
    """Return the one container of such a pod."""
    [found] = pod(workload)["containers"]
    specification: Mapping[str, Any] = found
    return specification


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Say whether a selector's labels take these; an empty one takes everything."""
    return selector.items() <= labels.items()
