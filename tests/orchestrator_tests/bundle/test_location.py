from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from orchestrator.bundle.location import bundle_at, fetch_embeddings, share_bundle, share_embeddings
from orchestrator.bundle.manifest import Layout
from orchestrator.data.vectors import (
    Facts,
    facts_path,
    read_facts,
    read_vectors,
    vectors_path,
    write_facts,
    write_vectors,
)
from orchestrator.runs.paths import RunPaths
from orchestrator.runs.run import Run
from shared.config.sweep import SweepConfig, with_values
from shared.errors import InputError

KEY = "0123"
MANIFEST = """{"schema_version": 5, "created": "2026-01-01T00:00:00Z", "versions": {}, "params": {},
"label_names": ["a"], "class_column": null, "text_column": "text", "thresholds": [0.5],
"encoders": [], "files": {"metrics.json": "hash", "../secret": "hash"}}"""


def _run(folder: Path, store: str | None) -> Run:
    config = with_values(SweepConfig(), {"workers": {"store": store}})
    return Run(RunPaths(folder / "run"), config)


def _embed(run: Run, seed: int = 0) -> npt.NDArray[np.float32]:
    """Put embeddings into a run's cache, such as another backend would make with another seed."""
    cache = run.paths.embeddings
    vectors = np.random.default_rng(seed).normal(size=(5, 3)).astype(np.float32)
    written = write_vectors(vectors_path(cache, KEY), vectors, range(5))
    facts = Facts("an encoder", "r", (5, 3), 0, None, "torch", 1.0, 1.0, *written)
    write_facts(facts_path(cache, KEY), facts)
    return vectors


def _vectors(run: Run) -> npt.NDArray[np.float32] | None:
    found = read_vectors(run.paths.embeddings, KEY)
    return None if found is None else found[0]


@pytest.fixture
def machines(tmp_path: Path, bucket: str, study_name: str) -> list[Run]:
    """Return a run on each of three machines that share a store."""
    return [_run(tmp_path / name, f"{bucket}/{study_name}") for name in ("here", "there", "third")]


def test_embeddings_that_one_machine_made_are_there_for_another(machines: list[Run]) -> None:
    here, there, _ = machines
    expected = _embed(here)
    share_embeddings(here, KEY)
    fetch_embeddings(there, KEY)
    np.testing.assert_array_equal(_vectors(there), expected)
    assert {path.name for path in there.paths.embeddings.iterdir()} == {"0123.json", "0123.npy"}


def test_embeddings_that_two_machines_made_at_once_are_ones_or_the_others(
    machines: list[Run],
) -> None:
    here, there, third = machines
    expected = [_embed(here, seed=1), _embed(there, seed=2)]
    share_embeddings(there, KEY)
    there.store.remove(f"embeddings/{KEY}.json")  # as if both had looked before either had written
    share_embeddings(here, KEY)
    fetch_embeddings(third, KEY)
    np.testing.assert_array_equal(_vectors(third), expected[0])


@pytest.mark.parametrize("harm", [lambda c: c[:-5], lambda c: c[:-5] + b"wrong"])
def test_embeddings_that_are_torn_in_the_store_are_not_taken_and_written_again(
    machines: list[Run], harm: Callable[[bytes], bytes]
) -> None:
    here, there, third = machines
    _embed(here)
    share_embeddings(here, KEY)
    facts = read_facts(facts_path(here.paths.embeddings, KEY))
    assert facts
    name = f"embeddings/{facts.sha256}.npy"
    here.store.write(name, harm(here.store.read(name)))
    fetch_embeddings(there, KEY)
    assert _vectors(there) is None
    made_anew = _embed(there, seed=1)
    share_embeddings(there, KEY)
    fetch_embeddings(third, KEY)
    np.testing.assert_array_equal(_vectors(third), made_anew)


def test_facts_that_are_torn_in_the_store_vouch_for_nothing(machines: list[Run]) -> None:
    here, there, _ = machines
    _embed(here)
    share_embeddings(here, KEY)
    here.store.write(f"embeddings/{KEY}.json", b'{"encoder": "an enc')
    fetch_embeddings(there, KEY)
    assert _vectors(there) is None
    share_embeddings(here, KEY)
    fetch_embeddings(there, KEY)
    assert _vectors(there) is not None


def test_without_a_store_nothing_is_shared(tmp_path: Path) -> None:
    run = _run(tmp_path, None)
    fetch_embeddings(run, KEY)
    share_embeddings(run, KEY)
    assert share_bundle(run) == str(run.paths.bundle)


def test_a_bundle_is_read_from_where_it_was_shared(tmp_path: Path, bucket: str) -> None:
    run = _run(tmp_path, f"{bucket}/sweeps/")
    run.paths.bundle.mkdir(parents=True)
    layout = Layout(run.paths.bundle)
    layout.manifest.write_text(MANIFEST)
    layout.metrics.write_text("{}")
    (tmp_path / "run" / "secret").write_text("outside of the bundle")
    location = share_bundle(run)
    assert location == f"{bucket}/sweeps/run/bundle"
    with bundle_at(location) as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "metrics.json"]
        assert not (folder.parent / "secret").exists()
    assert not folder.exists()


def test_a_folder_is_a_bundle_as_it_is(tmp_path: Path) -> None:
    with bundle_at(str(tmp_path)) as folder:
        assert folder == tmp_path


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nothing", "is not a bundle: it has no manifest.json"), ("", "is not a bundle")],
)
def test_a_url_without_a_bundle_is_one_clear_error(bucket: str, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason), bundle_at(f"{bucket}/empty/{name}"):
        pass


def test_a_store_that_is_unknown_is_one_clear_error() -> None:
    with pytest.raises(InputError, match="nosuch://x cannot be read"), bundle_at("nosuch://x"):
        pass
