import shlex
from pathlib import Path
from typing import Any

import pytest
from ray.scripts.scripts import cli

from shared.config.sections import WorkersConfig
from tests.deploy_tests.manifests import Manifest, Pod, pods, ray_cluster, selects

SPOT_NODES = (
    {"eks.amazonaws.com/capacityType": "SPOT"},
    {"karpenter.sh/capacity-type": "spot"},
    {"cloud.google.com/gke-spot": "true"},
    {"kubernetes.azure.com/scalesetpriority": "spot"},
)
OTHER_NODES = (
    {},
    {"eks.amazonaws.com/capacityType": "ON_DEMAND"},
    {"karpenter.sh/capacity-type": "on-demand"},
)


def _worker(manifests: list[Manifest]) -> dict[str, Any]:
    (group,) = ray_cluster(manifests)["workerGroupSpecs"]
    spec: dict[str, Any] = group["template"]["spec"]
    return spec


def test_it_runs_the_tested_version_of_ray(manifests: list[Manifest], checkout: Path) -> None:
    version = ray_cluster(manifests)["rayVersion"]
    assert f"ray=={version}" in (checkout / "constraints.txt").read_text().splitlines()


def test_nodes_come_and_go_by_themselves(manifests: list[Manifest]) -> None:
    spec = ray_cluster(manifests)
    (group,) = spec["workerGroupSpecs"]
    assert spec["enableInTreeAutoscaling"]
    assert (group["replicas"], group["minReplicas"]) == (0, 0)
    assert group["maxReplicas"] > 0
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_all_that_talks_to_ray_needs_the_token(manifests: list[Manifest]) -> None:
    assert ray_cluster(manifests)["authOptions"]["mode"] == "token"


def test_what_starts_a_node_are_options_of_ray_start(manifests: list[Manifest]) -> None:
    spec = ray_cluster(manifests)
    known = {option for one in cli.commands["start"].params for option in one.opts}
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert {f"--{name}" for name in group["rayStartParams"]} <= known


def test_a_worker_that_is_stopped_drains_its_node_in_time(manifests: list[Manifest]) -> None:
    worker = _worker(manifests)
    (container,) = worker["containers"]
    shell, flag, script = container["lifecycle"]["preStop"]["exec"]["command"]
    drain, wait = script.split(" && ")
    ray, name, *arguments = shlex.split(drain)
    parsed = cli.commands[name].make_context(name, arguments).params
    assert (shell, flag, ray) == ("sh", "-c", "ray")
    assert wait == f"sleep {parsed['deadline_remaining_seconds']}"
    assert worker["terminationGracePeriodSeconds"] > parsed["deadline_remaining_seconds"]


def test_a_deleted_secret_key_of_the_store_does_not_stop_a_pod(manifests: list[Manifest]) -> None:
    ray_pods = [pod for pod in pods(manifests) if pod.component == "ray"]
    for pod in ray_pods:
        (source,) = pod.containers[0]["envFrom"]
        assert source["secretRef"]["optional"]


def test_only_workers_have_gpus_and_only_when_asked_for(deploy: Path) -> None:
    from tests.deploy_tests.manifests import build

    for overlay, n_gpus in (("cpu", 0), ("gpu", 1), ("spot", 1)):
        manifests = build(deploy / "k8s" / "overlays" / overlay)
        for pod in pods(manifests):
            is_worker = pod.labels.get("ray.io/node-type") == "worker"
            resources = pod.containers[0]["resources"]
            found = [resources[key].get("nvidia.com/gpu", 0) for key in ("requests", "limits")]
            assert found == [n_gpus * is_worker] * 2
            assert _tolerates(pod.spec, "nvidia.com/gpu", "present") == bool(n_gpus * is_worker)


def test_a_node_has_a_core_for_each_of_four_workers_on_its_gpu(spot: list[Manifest]) -> None:
    (container,) = _worker(spot)["containers"]
    assert int(container["resources"]["limits"]["cpu"]) == 4 * WorkersConfig().cpus_per_worker


def _tolerates(spec: dict[str, Any], key: str, value: str) -> bool:
    return any(
        one["key"] == key
        and one["effect"] == "NoSchedule"
        and (one["operator"] == "Exists" or one["value"] == value)
        for one in spec.get("tolerations", [])
    )


def _goes_to(pod: Pod, node: dict[str, str]) -> bool:
    affinity = pod.spec["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return any(selects(term, node) for term in terms)


@pytest.mark.parametrize("node", SPOT_NODES)
def test_workers_alone_go_to_spot_nodes(spot: list[Manifest], node: dict[str, str]) -> None:
    for pod in pods(spot):
        if pod.component != "backup":
            assert _goes_to(pod, node) == (pod.labels.get("ray.io/node-type") == "worker")


@pytest.mark.parametrize("node", OTHER_NODES)
def test_all_but_workers_go_to_other_nodes(spot: list[Manifest], node: dict[str, str]) -> None:
    for pod in pods(spot):
        if pod.component != "backup":
            assert _goes_to(pod, node) == (pod.labels.get("ray.io/node-type") != "worker")


@pytest.mark.parametrize(
    ("key", "value"),
    [("cloud.google.com/gke-spot", "true"), ("kubernetes.azure.com/scalesetpriority", "spot")],
)
def test_only_workers_tolerate_what_keeps_others_off_spot_nodes(
    spot: list[Manifest], key: str, value: str
) -> None:
    for pod in pods(spot):
        assert _tolerates(pod.spec, key, value) == (pod.labels.get("ray.io/node-type") == "worker")
