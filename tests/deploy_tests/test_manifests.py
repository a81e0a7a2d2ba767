import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy_tests.manifests import Manifest, Pod, build, of_kind, pods, ray_cluster, selects

KUBERNETES = "1.35"
KUBERAY = json.loads((Path(__file__).parent / "raycluster.schema.json").read_text())
PINNED = re.compile(r".+:(?!latest)[\w][\w.-]*\d[\w.-]*")


def _require_valid(manifest: Manifest) -> None:
    """Validate against Kubernetes' schemas; of KubeRay's fields against those of its API."""
    if manifest["kind"] != "RayCluster":
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    jsonschema.validate(manifest["spec"], KUBERAY)
    for pod in pods([manifest]):
        metadata = {"name": pod.owner, "labels": pod.labels}
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod.spec}
        kubernetes_validate.validate(whole, KUBERNETES, strict=True)


def test_every_manifest_is_valid(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        _require_valid(manifest)


def test_the_restore_job_is_valid(checkout: Path) -> None:
    _require_valid(_restore(checkout))


@pytest.mark.parametrize(
    "path",
    [
        ("headGroupSpec", "template", "spec"),
        ("headGroupSpec", "template", "spec", "containers", 0),
        ("workerGroupSpecs", 0),
        ("workerGroupSpecs", 0, "template", "spec", "containers", 0, "securityContext"),
        ("autoscalerOptions",),
        ("autoscalerOptions", "securityContext"),
        ("authOptions",),
    ],
)
def test_a_misspelt_field_of_kuberay_is_refused(
    spot: list[Manifest], path: tuple[str | int, ...]
) -> None:
    (cluster,) = copy.deepcopy(of_kind(spot, "RayCluster"))
    place: Any = cluster["spec"]
    for key in path:
        place = place[key]
    place["replica"] = 1
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        _require_valid(cluster)


def _restore(checkout: Path) -> Manifest:
    manifest: Manifest = yaml.safe_load((checkout / "deploy/k8s/restore.yaml").read_text())
    return manifest


def _require_restricted(pod: Pod) -> None:
    """Require what the Pod Security Standard `restricted` does, of pod and containers."""
    context = pod.spec["securityContext"]
    assert context["runAsNonRoot"]
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    assert all("hostPath" not in volume for volume in pod.spec.get("volumes", []))
    for container in pod.containers:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not context.keys() & {"privileged", "runAsUser", "runAsNonRoot", "seccompProfile"}


def test_no_container_is_root_or_may_become_so(manifests: list[Manifest], checkout: Path) -> None:
    for pod in pods([*manifests, _restore(checkout)]):
        _require_restricted(pod)
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_everything_is_in_the_one_namespace(manifests: list[Manifest], checkout: Path) -> None:
    (namespace,) = of_kind(manifests, "Namespace")
    others = [manifest for manifest in manifests if manifest is not namespace]
    for manifest in [*others, _restore(checkout)]:
        assert manifest["metadata"]["namespace"] == namespace["metadata"]["name"]


def test_only_the_head_may_talk_to_kubernetes(manifests: list[Manifest], checkout: Path) -> None:
    accounts = {
        account["metadata"]["name"]: account.get("automountServiceAccountToken", True)
        for account in of_kind(manifests, "ServiceAccount")
    }
    for pod in pods([*manifests, _restore(checkout)]):
        of_account = accounts.get(pod.spec.get("serviceAccountName", "default"), True)
        mounts = pod.spec.get("automountServiceAccountToken", of_account)
        assert mounts == (pod.labels.get("ray.io/node-type") == "head"), pod


def test_every_image_is_pinned(manifests: list[Manifest], checkout: Path) -> None:
    for pod in pods([*manifests, _restore(checkout)]):
        for container in pod.containers:
            assert PINNED.fullmatch(container["image"]), container["image"]


def test_every_container_says_what_it_needs(manifests: list[Manifest], checkout: Path) -> None:
    for pod in pods([*manifests, _restore(checkout)]):
        for container in pod.containers:
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), container["name"]
            assert "memory" in resources["limits"], container["name"]


def test_no_secret_stands_outside_of_a_secret(manifests: list[Manifest], deploy: Path) -> None:
    text = json.dumps([one for one in manifests if one["kind"] != "Secret"])
    files = [file for file in deploy.glob("k8s/base/secrets/*") if file.name != "tls.crt"]
    secrets = [word for file in files for word in re.findall(r"[\w+/]{32,}", file.read_text())]
    assert len(secrets) >= len(files) == 4
    assert not [secret for secret in secrets if secret in text]
    assert not [entry for entry in _env(manifests) if "://" in entry["value"]]


def _env(manifests: list[Manifest]) -> list[dict[str, Any]]:
    containers = [one for pod in pods(manifests) for one in pod.containers]
    return [entry for container in containers for entry in container.get("env", [])]


def _files(manifest: Manifest) -> set[str]:
    return {*manifest.get("data", {}), *manifest.get("binaryData", {})}


def test_every_file_that_a_pod_mounts_exists(manifests: list[Manifest], checkout: Path) -> None:
    data = {
        (one["kind"], one["metadata"]["name"]): _files(one)
        for one in of_kind(manifests, "Secret", "ConfigMap")
    }
    claims = {one["metadata"]["name"] for one in of_kind(manifests, "PersistentVolumeClaim")}
    for pod in pods([*manifests, _restore(checkout)]):
        for volume in pod.spec["volumes"]:
            if "secret" in volume:
                found = data["Secret", volume["secret"]["secretName"]]
                assert {item["key"] for item in volume["secret"].get("items", [])} <= found
            elif "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in data
            elif "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            else:
                assert volume.keys() == {"name", "emptyDir"}
    token = ray_cluster(manifests)["authOptions"]["secretName"]
    assert data["Secret", token] == {"auth_token"}


def test_every_path_of_a_secret_is_mounted(manifests: list[Manifest], checkout: Path) -> None:
    secrets = {one["metadata"]["name"]: _files(one) for one in of_kind(manifests, "Secret")}
    seen = set()
    for pod in pods([*manifests, _restore(checkout)]):
        for container in pod.containers:
            mounts = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
            for path in re.findall(r"/run/secrets/[\w./]+", json.dumps(container.get("env", []))):
                folder, name = path.rsplit("/", 1)
                assert folder in mounts
                assert name in secrets[folder.rsplit("/", 1)[1]]
                seen.add(path)
    assert len(seen) == 4


def test_all_who_reach_postgresql_verify_it(manifests: list[Manifest], checkout: Path) -> None:
    for pod in pods([*manifests, _restore(checkout)]):
        if pod.component == "postgres":
            assert "-cssl=on" in pod.containers[0]["args"]
        else:
            env = {one["name"]: one["value"] for one in pod.containers[0]["env"]}
            assert env["PGSSLMODE"] == "verify-full"
            assert env["PGSSLROOTCERT"].endswith("/tls.crt")


def test_services_and_budgets_select_pods(manifests: list[Manifest]) -> None:
    for service in of_kind(manifests, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        assert any(selects(selector, pod.labels) for pod in pods(manifests))
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        found = [pod for pod in pods(manifests) if selects(budget["spec"]["selector"], pod.labels)]
        assert len(found) == 1


def test_nothing_is_public(manifests: list[Manifest]) -> None:
    assert not of_kind(manifests, "Ingress", "Gateway", "HTTPRoute")
    for service in of_kind(manifests, "Service"):
        assert service["spec"].get("type", "ClusterIP") == "ClusterIP"
    for pod in pods(manifests):
        ports = [port for container in pod.containers for port in container.get("ports", [])]
        assert all("hostPort" not in port for port in ports)
    dashboard = next(pod for pod in pods(manifests) if pod.component == "dashboard")
    assert dashboard.containers[0]["command"] == ["tagsweep", "dashboard"]
    head = ray_cluster(manifests)["headGroupSpec"]
    assert head["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert not head.keys() & {"enableIngress", "serviceType"}


def test_a_kustomization_without_secrets_says_which_file_is_missing(checkout: Path) -> None:
    if (checkout / "deploy/k8s/base/secrets").exists():
        pytest.skip("this checkout has secrets")
    with pytest.raises(AssertionError, match="secrets/"):
        build(checkout / "deploy/k8s/overlays/cpu")
