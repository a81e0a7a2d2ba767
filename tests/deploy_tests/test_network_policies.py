from collections.abc import Iterator
from typing import Any

from tests.deploy_tests.manifests import Manifest, Pod, of_kind, pods, selects

ANYWHERE: dict[str, Any] = {}
PORTS = {"postgres": 5432, "ray": 6379, "dashboard": 8080, "backup": 1}
"""A port of each component; the backup has none, but nobody may reach it all the same."""


def _policies(manifests: list[Manifest], pod: Pod, direction: str) -> list[dict[str, Any]]:
    policies = [policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")]
    ours = [one for one in policies if selects(one["podSelector"], pod.labels)]
    return [one for one in ours if direction in one["policyTypes"]]


def _allows(rule: dict[str, Any], peers: str, other: Pod, port: int) -> bool:
    ports = [one["port"] for one in rule.get("ports", [])]
    places = rule.get(peers, [{"podSelector": ANYWHERE}])
    assert all(place.keys() == {"podSelector"} for place in places)
    return (not ports or port in ports) and any(
        selects(place["podSelector"], other.labels) for place in places
    )


def _reaches(manifests: list[Manifest], client: Pod, server: Pod, port: int) -> bool:
    """Say whether the policies of both ends let the client connect; without any, all may."""
    outward = _policies(manifests, client, "Egress")
    inward = _policies(manifests, server, "Ingress")
    assert outward
    assert inward
    return any(
        _allows(rule, "to", server, port) for policy in outward for rule in policy.get("egress", [])
    ) and any(
        _allows(rule, "from", client, port)
        for policy in inward
        for rule in policy.get("ingress", [])
    )


def _pairs(manifests: list[Manifest]) -> Iterator[tuple[str, str]]:
    everyone = list(pods(manifests))
    for client in everyone:
        for server in everyone:
            if _reaches(manifests, client, server, PORTS[server.component]):
                yield client.component, server.component


def test_only_ray_dashboard_and_backup_reach_postgresql_and_only_ray_reaches_ray(
    manifests: list[Manifest],
) -> None:
    assert set(_pairs(manifests)) == {
        ("ray", "postgres"),
        ("dashboard", "postgres"),
        ("backup", "postgres"),
        ("ray", "ray"),
    }


def test_a_pod_of_another_kind_reaches_nothing(manifests: list[Manifest]) -> None:
    stranger = Pod("stranger", {}, {})
    for server in pods(manifests):
        assert not _reaches(manifests, stranger, server, PORTS[server.component])


def test_postgresql_is_reached_at_its_port_only(manifests: list[Manifest]) -> None:
    ray, postgres = (
        next(pod for pod in pods(manifests) if pod.component == name)
        for name in ("ray", "postgres")
    )
    assert not _reaches(manifests, ray, postgres, 22)


def test_every_selector_of_a_policy_matches_a_pod(manifests: list[Manifest]) -> None:
    for policy in of_kind(manifests, "NetworkPolicy"):
        spec = policy["spec"]
        places = [place for rule in spec.get("ingress", []) for place in rule["from"]]
        for selector in (spec["podSelector"], *(place["podSelector"] for place in places)):
            assert any(selects(selector, pod.labels) for pod in pods(manifests))
            for expression in selector.get("matchExpressions", []):
                components = {pod.labels.get(expression["key"]) for pod in pods(manifests)}
                assert set(expression["values"]) <= components


def test_every_pod_can_look_up_names(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        rules = [
            rule
            for policy in _policies(manifests, pod, "Egress")
            for rule in policy.get("egress", [])
        ]
        protocols = {
            port["protocol"]
            for rule in rules
            for port in rule.get("ports", [])
            if port["port"] == 53
        }
        assert protocols == {"UDP", "TCP"}
