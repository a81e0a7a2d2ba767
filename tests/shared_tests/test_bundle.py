import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from shared.bundle import read_bundle, read_manifest, read_metrics, write_bundle
from shared.config import EncoderConfig
from shared.data.encoder import Encoder, resolve_encoder
from shared.errors import InputError

METRICS: dict[str, Any] = {
    "test": {"ap_weighted": 0.9},
    "logistic_regression": {"ap_weighted": 0.8},
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return resolve_encoder(EncoderConfig())


@pytest.fixture(scope="module")
def members() -> list[keras.Sequential]:
    keras.utils.set_random_seed(0)
    layers = [[keras.Input((384,)), keras.layers.Dense(2, activation="sigmoid")] for _ in range(2)]
    return [keras.Sequential(layer) for layer in layers]


@pytest.fixture
def bundle(tmp_path: Path, encoder: Encoder, members: list[keras.Sequential]) -> Path:
    folder = tmp_path / "bundle"
    _write(folder, encoder, members)
    return folder


def _write(folder: Path, encoder: Encoder, members: list[keras.Sequential], **more: Any) -> None:
    values = {"params": {"batch_size": 8}, "metrics": METRICS} | more
    write_bundle(
        folder,
        members=members,
        label_names=("a", "b"),
        thresholds=(0.5, 0.4),
        encoder=encoder,
        **values,
    )


def test_what_is_written_is_read(
    bundle: Path, encoder: Encoder, members: list[keras.Sequential]
) -> None:
    read = read_bundle(bundle)
    assert read.manifest.label_names == ("a", "b")
    assert read.manifest.thresholds == (0.5, 0.4)
    assert read.manifest.encoder_revision == encoder.revision
    assert read.manifest.encoder == EncoderConfig()
    assert read.metrics == METRICS
    x = np.random.default_rng(0).normal(size=(3, 384)).astype(np.float32)
    for ours, theirs in zip(read.members, members, strict=True):
        np.testing.assert_array_equal(ours(x).numpy(), theirs(x).numpy())


@pytest.mark.parametrize(
    ("backend", "kept"), [("torch-bf16", "auto"), ("openvino-int8", "openvino-int8")]
)
def test_a_bundle_binds_its_reader_to_no_backend_but_a_quantised_one(
    bundle: Path, encoder: Encoder, members: list[keras.Sequential], backend: str, kept: str
) -> None:
    _write(bundle, replace(encoder, backend=backend), members[:1])
    assert read_manifest(bundle).encoder.backend == kept


def test_a_bundle_names_no_path_of_its_writer(bundle: Path, encoder: Encoder) -> None:
    for name in ("manifest.json", "metrics.json", "README.md"):
        assert encoder.location not in (bundle / name).read_text()


def test_a_bundle_takes_the_place_of_an_earlier_one(
    bundle: Path, encoder: Encoder, members: list[keras.Sequential]
) -> None:
    _write(bundle, encoder, members[:1], params={"batch_size": 9})
    assert len(read_bundle(bundle).members) == 1
    assert read_manifest(bundle).params == {"batch_size": 9}
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_write_that_fails_leaves_the_earlier_bundle(
    bundle: Path, encoder: Encoder, members: list[keras.Sequential]
) -> None:
    with pytest.raises(TypeError):
        _write(bundle, encoder, members, metrics=METRICS | {"bad": object()})
    assert read_bundle(bundle).metrics == METRICS


@pytest.mark.parametrize("name", ["member-0.keras", "member-1.keras", "metrics.json", "README.md"])
def test_a_changed_file_is_named(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(InputError, match=f"damaged: {name} is not as it was written"):
        read_bundle(bundle)


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "member-1.keras").unlink()
    with pytest.raises(InputError, match="member-1.keras is missing"):
        read_bundle(bundle)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a bundle: it has no manifest.json"):
        read_bundle(tmp_path)
    with pytest.raises(InputError, match="is not a bundle"):
        read_metrics(tmp_path / "none")


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}"])
def test_a_manifest_of_rubbish_is_damaged(bundle: Path, content: str) -> None:
    (bundle / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="is damaged: manifest.json"):
        read_bundle(bundle)


def _change_manifest(bundle: Path, **values: Any) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(("schema", "advice"), [(1, "Remove it, and make it anew"), (3, "Upgrade")])
def test_a_bundle_of_another_schema_says_what_to_do(bundle: Path, schema: int, advice: str) -> None:
    _change_manifest(bundle, schema_version=schema, unheard_of="x")
    with pytest.raises(InputError, match=f"has schema {schema}, .* reads 2. {advice}"):
        read_bundle(bundle)


def test_only_models_that_the_manifest_lists_are_loaded(bundle: Path) -> None:
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    files["other.keras"] = files.pop("member-1.keras")
    (bundle / "other.keras").write_bytes((bundle / "member-1.keras").read_bytes())
    _change_manifest(bundle, files=files)
    with pytest.raises(InputError, match="damaged: its manifest lacks member-1.keras"):
        read_bundle(bundle)


def test_a_file_that_is_no_model_is_named(bundle: Path) -> None:
    (bundle / "member-1.keras").write_bytes(b"rubbish")
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    _change_manifest(bundle, files=files | {"member-1.keras": sha256(b"rubbish").hexdigest()})
    with pytest.raises(InputError, match="damaged: member-1.keras is no Keras model"):
        read_bundle(bundle)


def test_a_model_that_brings_code_is_refused_and_not_run(bundle: Path, tmp_path: Path) -> None:
    run = tmp_path / "has-run"
    path = str(run)
    code = keras.layers.Lambda(lambda x: (Path(path).touch(), x)[1])
    evil = keras.Sequential([keras.Input((384,)), code])
    assert run.exists()
    evil.save(bundle / "member-0.keras")
    run.unlink()
    manifest = json.loads((bundle / "manifest.json").read_text())
    digest = sha256((bundle / "member-0.keras").read_bytes()).hexdigest()
    manifest["files"]["member-0.keras"] = digest
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="member-0.keras is no Keras model"):
        read_bundle(bundle)
    assert not run.exists()


def test_labels_need_not_be_ascii_whatever_the_locale(tmp_path: Path) -> None:
    code = (
        "import sys, keras; from pathlib import Path; from shared.bundle import *;"
        "from shared.data.encoder import Encoder;"
        "write_bundle(Path(sys.argv[1]), members=[keras.Sequential([keras.Input((2,)),"
        " keras.layers.Dense(1)])], label_names=['\\u00fcbel'], thresholds=[0.5],"
        "encoder=Encoder('\\u00e9', '', '', None, None, 'auto', None), params={},"
        "metrics={k: {'ap_weighted': 1.0} for k in ('test', 'logistic_regression')})"
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
    assert read_manifest(tmp_path / "bundle").label_names == ("übel",)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b"])
def test_a_manifest_cannot_name_files_elsewhere(bundle: Path, name: str) -> None:
    _change_manifest(bundle, files={name: "0" * 64})
    with pytest.raises(InputError, match="damaged: its manifest names"):
        read_bundle(bundle)


def test_the_readmes_python_predicts_without_tagsweep(bundle: Path, encoder: Encoder) -> None:
    readme = (bundle / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    code = code.replace(repr(encoder.name), repr(encoder.location))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=bundle, capture_output=True, text=True, check=True
    )
    assert re.search(r"\{'a': .*0\.\d+.*, 'b': .*0\.\d+.*\}", done.stdout)
