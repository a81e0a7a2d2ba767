from pathlib import Path

import pytest

from orchestrator.run import Run
from orchestrator.sharing import bundle_at, fetch_embeddings, share_bundle, share_embeddings
from shared.bundle import Layout
from shared.config import SweepConfig, with_values
from shared.errors import InputError
from shared.paths import RunPaths

KEY = "0123"
MANIFEST = """{"schema_version": 4, "created": "2026-01-01T00:00:00Z", "versions": {}, "params": {},
"label_names": ["a"], "class_column": null, "thresholds": [0.5], "encoders": [],
"files": {"metrics.json": "hash", "../secret": "hash"}}"""


def _run(folder: Path, store: str | None) -> Run:
    config = with_values(SweepConfig(), {"workers": {"store": store}})
    return Run(RunPaths(folder / "run"), config)


def _embed(run: Run) -> None:
    run.paths.embeddings.mkdir(parents=True)
    for suffix in ("npy", "json"):
        (run.paths.embeddings / f"{KEY}.{suffix}").write_text(suffix)


def test_embeddings_that_one_machine_made_are_there_for_another(
    tmp_path: Path, bucket: str
) -> None:
    here, there = _run(tmp_path / "here", bucket), _run(tmp_path / "there", bucket)
    _embed(here)
    share_embeddings(here, KEY)
    fetch_embeddings(there, KEY)
    assert sorted(path.name for path in there.paths.embeddings.iterdir()) == [
        "0123.json",
        "0123.npy",
    ]


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
