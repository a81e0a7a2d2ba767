import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.scripts.scripts import cli

from shared.study.tables.storage import DRIVERS_LOCK, MAX_CONNECTIONS

SCHEMA = jsonschema.Draft7Validator(
    json.loads((Path(__file__).parent / "compose-spec.json").read_text())
)
OURS = ("head", "worker", "dashboard")
RESERVED = 3
"""Connections that PostgreSQL keeps for its superuser."""


@pytest.fixture(scope="module")
def compose(checkout: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((checkout / "deploy/compose.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def test_it_is_valid(compose: dict[str, Any]) -> None:
    SCHEMA.validate(compose)


def test_a_misspelt_key_is_refused(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"] | {"depend_on": {}}
    with pytest.raises(jsonschema.ValidationError, match="depend_on"):
        SCHEMA.validate({"services": {"worker": worker}})


def test_ports_are_this_machines_only(services: dict[str, dict[str, Any]]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"head": ["127.0.0.1:8265:8265"], "dashboard": ["127.0.0.1:8080:8080"]}


def test_no_container_is_root_or_may_become_so(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid"}
        assert service.get("user") == (None if name in OURS else "postgres")


def test_every_image_is_pinned(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert re.fullmatch(r"[\w/.]+:[\w.-]*\d[\w.-]*", service["image"])


def test_all_of_ours_are_the_one_image(services: dict[str, dict[str, Any]], checkout: Path) -> None:
    for name in OURS:
        build = services[name]["build"]
        assert (checkout / "deploy" / build["context"] / build["dockerfile"]).samefile(
            checkout / "deploy/Dockerfile"
        )
        assert services[name]["image"].endswith(build["target"])


def test_secrets_are_files_and_stand_nowhere_else(
    compose: dict[str, Any], services: dict[str, dict[str, Any]], deploy: Path
) -> None:
    for name, secret in compose["secrets"].items():
        assert (deploy / secret["file"]).is_file(), name
    for service in services.values():
        paths = re.findall(r"/run/secrets/([\w.]+)", json.dumps(service))
        assert sorted(paths) == sorted(service["secrets"])
        for variable, value in service.get("environment", {}).items():
            secret = variable.endswith(("_FILE", "_PATH"))
            assert secret == value.startswith("/run/secrets/"), variable
        assert "://tagsweep" not in json.dumps(service)


def test_every_node_needs_the_token(services: dict[str, dict[str, Any]]) -> None:
    for name in ("head", "worker"):
        environment = services[name]["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN_PATH"].rpartition("/")[2] in services[name]["secrets"]


def test_ray_understands_its_commands(services: dict[str, dict[str, Any]]) -> None:
    for name in ("head", "worker"):
        ray, command, *arguments = services[name]["command"]
        parsed = cli.commands[command].make_context(command, list(arguments)).params
        assert ray == "ray"
        assert parsed["block"]
        assert parsed["num_cpus"] == services[name].get("cpus", 0)
    assert services["worker"]["command"][2] == "--address=head:6379"


def test_what_others_wait_for_has_a_health_check(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in services[other]


def test_what_is_mounted_exists(compose: dict[str, Any], checkout: Path) -> None:
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source, *_ = volume.split(":")
            if source.startswith("."):
                assert (checkout / "deploy" / source).is_file()
            else:
                assert source in compose["volumes"]


def test_the_database_is_the_one_of_kubernetes(
    services: dict[str, dict[str, Any]], checkout: Path
) -> None:
    manifests = (checkout / "deploy/k8s/base/postgres.yaml").read_text()
    assert f"image: {services['postgres']['image']}\n" in manifests
    assert f"-c{services['postgres']['command'][-1]}\n" in manifests


def test_the_connections_are_enough_for_as_many_workers_as_the_comments_say(
    services: dict[str, dict[str, Any]], checkout: Path
) -> None:
    text = (checkout / "deploy/compose.yaml").read_text()
    (n_workers,) = re.findall(r"enough for (\d+)", text)
    allowed = int(services["postgres"]["command"][-1].removeprefix("max_connections="))
    needed = MAX_CONNECTIONS * (1 + int(n_workers)) + DRIVERS_LOCK
    assert needed <= allowed - RESERVED


def test_the_dashboard_can_read_the_studies_files_and_not_write(
    services: dict[str, dict[str, Any]],
) -> None:
    assert services["dashboard"]["volumes"] == ["store:/store:ro"]
    assert services["head"]["volumes"] == ["store:/store"]
