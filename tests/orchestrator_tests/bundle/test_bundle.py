import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from orchestrator.bundle.bundle import read_bundle
from orchestrator.bundle.manifest import SCHEMA, read_manifest, read_metrics
from shared.config.sections import EncoderConfig
from shared.encoding.encoder import Encoder, resolve_encoder
from shared.errors import InputError
from tests.tiny_bundle import METRICS, tiny_members, tiny_reference, write_tiny_bundle


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return resolve_encoder(EncoderConfig())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "bundle"
    write_tiny_bundle(folder)
    return folder


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "bundle")


def test_what_is_written_is_read(bundle: Path, encoder: Encoder) -> None:
    read = read_bundle(bundle)
    assert read.manifest.label_names == ("a", "b")
    assert read.manifest.thresholds == (0.5, 0.4)
    assert read.manifest.task == "multilabel"
    (bundled,) = read.manifest.encoders
    assert (bundled.config, bundled.revision) == (EncoderConfig(), encoder.revision)
    assert read.metrics == METRICS
    np.testing.assert_array_equal(read.reference.vectors, tiny_reference().vectors)
    assert (read.reference.positives.tolist(), read.reference.n_rows) == ([16, 4], 40)
    x = np.random.default_rng(0).normal(size=(3, 384)).astype(np.float32)
    expected = np.mean([member(x).numpy() for member in tiny_members(3)], axis=0)
    np.testing.assert_allclose(read.model(x).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("backend", "kept"), [("torch-bf16", "auto"), ("openvino-int8", "openvino-int8")]
)
def test_a_bundle_binds_its_reader_to_no_backend_but_a_quantised_one(
    bundle: Path, encoder: Encoder, backend: str, kept: str
) -> None:
    write_tiny_bundle(bundle, encoders=[replace(encoder, backend=backend)])
    assert read_manifest(bundle).encoders[0].config.backend == kept


def test_a_bundle_names_no_path_of_its_writer(bundle: Path, encoder: Encoder) -> None:
    for name in ("manifest.json", "metrics.json", "README.md"):
        assert encoder.location not in (bundle / name).read_text()


def test_a_bundle_takes_the_place_of_an_earlier_one(bundle: Path) -> None:
    write_tiny_bundle(bundle, params={"batch_size": 9})
    assert read_manifest(bundle).params == {"batch_size": 9}
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_write_that_fails_leaves_the_earlier_bundle(bundle: Path) -> None:
    with pytest.raises(TypeError):
        write_tiny_bundle(bundle, metrics=METRICS | {"bad": object()})
    assert read_bundle(bundle).metrics == METRICS


@pytest.mark.parametrize("name", ["ensemble.keras", "metrics.json", "reference.npz"])
def test_a_changed_file_is_named(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(InputError, match=f"damaged: {name} is not as it was written"):
        read_bundle(bundle)


def test_the_card_may_be_added_to(bundle: Path) -> None:
    card = bundle / "README.md"
    card.write_text(card.read_text().replace("license: unknown", "license: mit"))
    assert read_bundle(bundle).metrics == METRICS


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "ensemble.keras").unlink()
    with pytest.raises(InputError, match="ensemble.keras is missing"):
        read_bundle(bundle)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a bundle: it has no manifest.json"):
        read_bundle(tmp_path)
    with pytest.raises(InputError, match="is not a bundle"):
        read_metrics(tmp_path / "none")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").touch()
    with pytest.raises(InputError, match=f"Did you mean {tmp_path}/bundle?"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}"])
def test_a_manifest_of_rubbish_is_damaged(bundle: Path, content: str) -> None:
    (bundle / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="is damaged: manifest.json"):
        read_bundle(bundle)


def _change_manifest(bundle: Path, **values: Any) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("schema", "advice"), [(SCHEMA - 1, "Remove it, and make it anew"), (SCHEMA + 1, "Upgrade")]
)
def test_a_bundle_of_another_schema_says_what_to_do(bundle: Path, schema: int, advice: str) -> None:
    _change_manifest(bundle, schema_version=schema, unheard_of="x")
    with pytest.raises(InputError, match=f"has schema {schema}, .* reads {SCHEMA}. {advice}"):
        read_bundle(bundle)


def _replace(bundle: Path, name: str, content: bytes) -> None:
    (bundle / name).write_bytes(content)
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    _change_manifest(bundle, files=files | {name: sha256(content).hexdigest()})


@pytest.mark.parametrize("name", ["ensemble.keras", "reference.npz", "metrics.json"])
def test_only_what_the_manifest_lists_is_read(bundle: Path, name: str) -> None:
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    del files[name]
    _change_manifest(bundle, files=files)
    with pytest.raises(InputError, match=f"damaged: its manifest lacks {name}"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("name", "kind"), [("ensemble.keras", "Keras model"), ("reference.npz", "reference")]
)
def test_a_file_of_rubbish_is_named(bundle: Path, name: str, kind: str) -> None:
    _replace(bundle, name, b"rubbish")
    with pytest.raises(InputError, match=f"damaged: {name} is no {kind}"):
        read_bundle(bundle)


def test_a_model_that_brings_code_is_refused_and_not_run(bundle: Path, tmp_path: Path) -> None:
    run = tmp_path / "has-run"
    path = str(run)
    code = keras.layers.Lambda(lambda x: (Path(path).touch(), x)[1])
    evil = keras.Sequential([keras.Input((384,)), code])
    assert run.exists()
    evil.save(tmp_path / "evil.keras")
    run.unlink()
    _replace(bundle, "ensemble.keras", (tmp_path / "evil.keras").read_bytes())
    with pytest.raises(InputError, match="ensemble.keras is no Keras model"):
        read_bundle(bundle)
    assert not run.exists()


def test_labels_need_not_be_ascii_whatever_the_locale(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests');"
        "from tiny_bundle import write_tiny_bundle;"
        "write_tiny_bundle(Path(sys.argv[1]), label_names=['a', '\\u00fcbel'])"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "bundle"],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "bundle").label_names == ("a", "übel")
    assert "übel" in (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b"])
def test_a_manifest_cannot_name_files_elsewhere(bundle: Path, name: str) -> None:
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    _change_manifest(bundle, files=files | {name: "0" * 64})
    with pytest.raises(InputError, match="damaged: its manifest names"):
        read_bundle(bundle)
