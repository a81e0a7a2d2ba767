import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ALLOWED = {
    "shared": {"shared"},
    "workers": {"shared", "workers"},
    "orchestrator": {"shared", "workers", "orchestrator"},
}
MAX_LINES = 350


def _sources(checkout: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (checkout / folder).rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Return the dotted modules that a file imports anywhere, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(str(node.module))
    return found


def _roots(path: Path) -> set[str]:
    return {module.split(".")[0] for module in _imports(path)}


def _nodes_at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a file but for those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _nodes_at_run_time(node)


def _graph(checkout: Path) -> dict[str, set[str]]:
    """Return which of our modules each of them imports at run time, in functions too."""
    paths = {
        ".".join(path.relative_to(checkout).with_suffix("").parts).removesuffix(".__init__"): path
        for path in _sources(checkout, *ALLOWED)
    }
    graph: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        for node in _nodes_at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= {one if one in paths else str(node.module) for one in names}
        graph[name] &= paths.keys()
    return graph


def test_no_file_imports_itself_by_way_of_others(checkout: Path) -> None:
    TopologicalSorter(_graph(checkout)).prepare()


def test_a_worker_runs_each_file_of_shared(checkout: Path) -> None:
    """So that nobody is refused as a worker for what only the driver has changed."""
    graph = _graph(checkout)
    waiting = [name for name in graph if name.startswith("workers")]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [*graph[name], *filter(None, [name.rpartition(".")[0]])]
    assert not {name for name in graph if name.startswith("shared")} - reached


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(checkout: Path, package: str) -> None:
    for path in _sources(checkout, package):
        ours = _roots(path) & set(ALLOWED)
        assert ours <= ALLOWED[package], f"{path} imports {ours - ALLOWED[package]}"


def test_the_orchestrator_uses_of_the_workers_only_what_the_package_offers(checkout: Path) -> None:
    for path in _sources(checkout, "orchestrator"):
        inner = {module for module in _imports(path) if module.startswith("workers.")}
        assert not inner, f"{path} imports {inner}"


def test_optuna_and_keras_meet_in_workers_only(checkout: Path) -> None:
    keras = {"keras", "tensorflow", "jax"}
    for path in _sources(checkout, "shared", "orchestrator"):
        roots = _roots(path)
        assert not ({"optuna"} & roots and keras & roots), f"{path} imports Optuna and Keras"
    assert not any(keras & _roots(path) for path in _sources(checkout, "shared/study"))
    assert not any({"optuna"} & _roots(path) for path in _sources(checkout, "shared/training"))


def test_ray_is_used_by_the_workers_files_for_it_and_its_client_for_jobs_by_one(
    checkout: Path,
) -> None:
    users = [path for path in _sources(checkout, *ALLOWED) if "ray" in _roots(path)]
    actors, (launch,) = users[1:], users[:1]
    assert launch == checkout / "orchestrator" / "runs" / "ray_job.py"
    assert {module for module in _imports(launch) if module.startswith("ray")} == {
        "ray.job_submission"
    }
    assert actors == sorted((checkout / "workers").glob("ray_*.py"))


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_one_file_imports_each_backend(checkout: Path, backend: str) -> None:
    users = [path for path in _sources(checkout, *ALLOWED) if backend in _roots(path)]
    assert users == [checkout / "shared" / "training" / "backends" / f"{backend}.py"]


def test_training_needs_no_library_but_keras_and_its_backends(checkout: Path) -> None:
    """So that it can be measured on a machine that has nothing else."""
    foreign = {"optuna", "pydantic", "pandas", "sqlalchemy", "ray", "psycopg2", "yaml"}
    for path in _sources(checkout, "shared/training"):
        assert not foreign & _roots(path), f"{path} imports {foreign & _roots(path)}"


def test_no_file_is_too_long_to_read_at_one_sitting(checkout: Path) -> None:
    for path in _sources(checkout, *ALLOWED, "tests", "examples"):
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        assert n_lines <= MAX_LINES, f"{path} has {n_lines} lines"
