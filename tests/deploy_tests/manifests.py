"""Build the overlays as `kubectl apply -k` does, and find in them what tests look at."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

OVERLAYS = ("cpu", "gpu", "spot")
COMPONENT = "app.kubernetes.io/component"
OF_THE_AUTOSCALER = ("resources", "securityContext")
"""What `autoscalerOptions` may say of the container that KubeRay adds to the head."""


@dataclass(frozen=True)
class Pod:
    """Be a pod that a manifest asks for: its labels, its spec, and the manifest's name."""

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def component(self) -> str:
        return self.labels[COMPONENT]


def build(kustomization: Path) -> list[Manifest]:
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", kustomization], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def ray_cluster(manifests: list[Manifest]) -> dict[str, Any]:
    (cluster,) = of_kind(manifests, "RayCluster")
    spec: dict[str, Any] = cluster["spec"]
    return spec


def pods(manifests: list[Manifest]) -> Iterator[Pod]:
    """Yield the pods of all manifests; those of Ray with what KubeRay adds to them."""
    for manifest in manifests:
        name = manifest["metadata"].get("name", manifest["kind"])
        spec = manifest.get("spec", {})
        if manifest["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if manifest["kind"] == "RayCluster":
            yield from _ray_pods(name, spec)
        elif "template" in spec:
            yield _pod(name, spec["template"], {})


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Say whether a label selector of Kubernetes selects something with these labels."""
    wanted = selector.get("matchLabels", {})
    expressions = selector.get("matchExpressions", [])
    assert {one["operator"] for one in expressions} <= {"In", "NotIn"}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        (labels.get(one["key"]) in one["values"]) == (one["operator"] == "In")
        for one in expressions
    )


def _ray_pods(name: str, spec: dict[str, Any]) -> Iterator[Pod]:
    head = _pod(name, spec["headGroupSpec"]["template"], _ray_labels(name, "head"))
    (container,) = head.spec["containers"]
    options = {key: spec["autoscalerOptions"][key] for key in OF_THE_AUTOSCALER}
    autoscaler = {"name": "autoscaler", "image": container["image"], **options}
    yield Pod(head.owner, head.labels, head.spec | {"containers": [container, autoscaler]})
    for group in spec["workerGroupSpecs"]:
        yield _pod(name, group["template"], _ray_labels(name, "worker"))


def _ray_labels(name: str, node_type: str) -> dict[str, str]:
    return {"ray.io/cluster": name, "ray.io/node-type": node_type}


def _pod(owner: str, template: dict[str, Any], labels: dict[str, str]) -> Pod:
    return Pod(owner, template["metadata"]["labels"] | labels, template["spec"])
