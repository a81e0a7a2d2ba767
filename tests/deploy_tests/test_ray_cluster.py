import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli

FILES = ("ray-cluster.yaml", "ray-cluster-gcp.yaml")
HOME = "/home/tagsweep/"


@pytest.fixture(scope="module", params=FILES)
def cluster(request: pytest.FixtureRequest, checkout: Path) -> dict[str, Any]:
    """Return the file as `ray up` reads it: with Ray's defaults for what it leaves out."""
    loaded = yaml.safe_load((checkout / "deploy" / request.param).read_text())
    prepared: dict[str, Any] = prepare_config(loaded)
    return prepared


def _node(cluster: dict[str, Any], name: str) -> dict[str, Any]:
    config: dict[str, Any] = cluster["available_node_types"][name]["node_config"]
    return config


def test_ray_accepts_it(cluster: dict[str, Any]) -> None:
    validate_config(cluster)


def test_a_misspelt_key_is_refused(cluster: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        validate_config(cluster | {"idle_timeout": 5})


def test_a_head_on_demand_and_workers_on_spot_nodes_that_come_and_go(
    cluster: dict[str, Any],
) -> None:
    assert cluster["head_node_type"] == "head"
    worker = cluster["available_node_types"]["worker"]
    assert worker["min_workers"] == 0
    assert worker["max_workers"] == cluster["max_workers"]
    assert worker["resources"] == {"CPU": 4, "GPU": 1}
    assert cluster["available_node_types"]["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert "spot" in json.dumps(_node(cluster, "worker")).lower()
    assert "spot" not in json.dumps(_node(cluster, "head")).lower()
    assert cluster["provider"]["cache_stopped_nodes"] is False


def test_all_nodes_know_the_token_and_the_storage(cluster: dict[str, Any]) -> None:
    options = cluster["docker"]["run_options"]
    environment = dict(
        option.removeprefix("--env=").split("=", 1) for option in options if "--env=" in option
    )
    ((remote, local),) = cluster["file_mounts"].items()
    assert local == "deploy/secrets"
    assert environment == {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": f"{remote}/ray_token",
        "TAGSWEEP_STORAGE_FILE": f"{remote}/storage_url",
    }
    assert remote.startswith(HOME)


def test_no_port_is_opened_and_the_dashboard_stays_on_the_node(cluster: dict[str, Any]) -> None:
    assert "security_group" not in cluster["provider"]
    options = json.dumps(cluster["docker"])
    assert "--publish" not in options
    assert "--privileged" not in options
    start = _starts(cluster["head_start_ray_commands"])
    assert start["dashboard_host"] == "127.0.0.1"


def _starts(commands: list[str]) -> dict[str, Any]:
    """Parse the `ray start` of a node's commands as Ray does."""
    stop, start = commands
    ray, name, *arguments = shlex.split(start)
    assert stop == "ray stop"
    assert ray == "ray"
    parsed: dict[str, Any] = cli.commands[name].make_context(name, arguments).params
    return parsed


def test_ray_understands_its_commands(cluster: dict[str, Any]) -> None:
    head = _starts(cluster["head_start_ray_commands"])
    worker = _starts(cluster["worker_start_ray_commands"])
    assert head["head"]
    assert (head["num_cpus"], head["num_gpus"]) == (0, 0)
    assert head["autoscaling_config"] == "~/ray_bootstrap_config.yaml"
    assert worker["address"] == f"$RAY_HEAD_IP:{head['port']}"


def test_no_node_installs_another_ray(cluster: dict[str, Any]) -> None:
    assert cluster["worker_setup_commands"] == []
    (install,) = cluster["head_setup_commands"]
    assert "ray" not in install


def test_the_two_differ_in_their_cloud_only(checkout: Path) -> None:
    aws, gcp = (yaml.safe_load((checkout / "deploy" / name).read_text()) for name in FILES)
    same = ["cluster_name", "max_workers", "idle_timeout_minutes", "docker", "file_mounts"]
    same += ["head_node_type", "head_start_ray_commands", "worker_start_ray_commands"]
    assert {key: aws[key] for key in same} == {key: gcp[key] for key in same}
    for name in ("head", "worker"):
        nodes = [file["available_node_types"][name] for file in (aws, gcp)]
        assert nodes[0].keys() == nodes[1].keys()
        assert nodes[0]["resources"] == nodes[1]["resources"]


def test_the_image_is_the_gpu_target_as_the_readme_builds_it(
    cluster: dict[str, Any], checkout: Path
) -> None:
    readme = (checkout / "deploy/README.md").read_text()
    assert f"--target gpu -t {cluster['docker']['image']} ." in readme
