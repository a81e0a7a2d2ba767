import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from orchestrator.bundle.bundle import read_bundle
from orchestrator.bundle.card import model_card
from orchestrator.bundle.manifest import BundledEncoder, read_manifest
from orchestrator.bundle.predict import load_predictor, predict
from shared.config.sections import EncoderConfig
from tests.tiny_bundle import CLASSES, METRICS, metrics_of, write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card") / "bundle"
    write_tiny_bundle(folder)
    return folder


def test_the_hub_reads_its_front_matter(bundle: Path) -> None:
    data = ModelCard.load(bundle / "README.md").data
    assert (data.license, data.library_name) == ("unknown", "keras")
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    weighted, macro, micro = data.eval_results
    assert (weighted.metric_value, macro.metric_value, micro.metric_value) == (0.9, 0.8, 0.7)
    assert (weighted.dataset_name, weighted.dataset_split) == ("texts.csv", "test")


def test_it_says_data_figures_thresholds_and_limits(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert "`texts.csv`: 50 labelled texts, of which 40 served" in card
    assert "| average precision, weighted | 0.9000 | 0.6000 to 0.9500 | 0.9000 |" in card
    assert "logistic regression (C = 10): **-0.0010** (-0.0050 to +0.0030)" in card
    assert "- a default head: **+0.0200** (+0.0100 to +0.0300)" in card
    assert "| a | 20 | 40.0% | 0.5 | temperature | 0.9000 | 0.7000 to 0.9600 |" in card
    assert "| b | 5 | 10.0% | 0.4 | none | no positive text |  |" in card
    assert "`all-MiniLM-L6-v2` reads the first 256 tokens of a text; 3 of the texts" in card


def test_it_says_what_decisions_were_chosen_for_and_what_good_they_do(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert "Thresholds were chosen for the highest F1," in card
    assert "| macro | 0.6000 | 0.5000 |" in card
    assert "| expected calibration error | 0.0500 | 0.0200 |" in card
    assert "- b: 5 of 50." in card


def test_probabilities_that_nothing_calibrated_are_told_once(bundle: Path) -> None:
    decisions = METRICS["decisions"]
    per_label = {n: one | {"calibration": "none"} for n, one in decisions["per_label"].items()}
    metrics = METRICS | {"decisions": decisions | {"per_label": per_label}}
    card = model_card(read_manifest(bundle), metrics)
    assert "| | not calibrated |\n|---|---|\n| expected calibration error | 0.0500 |\n" in card


def test_classes_have_no_thresholds_but_an_accuracy_and_one_answer(bundle: Path) -> None:
    manifest = read_manifest(bundle).model_copy(update=CLASSES)
    card = model_card(manifest, CLASSES["metrics"])
    assert "multi-class-classification" in card
    assert "which of these classes a text has, with probabilities that add up to 1: a, b." in card
    assert "accuracy: **0.9000**\n(0.8500 to 0.9500)" in card
    assert "| F1, macro | 0.5000 |  | 0.5000 |" in card
    assert "## Probabilities\n\nHow far the probabilities are" in card
    assert "Thresholds" not in card
    assert "| a | 20 | 40.0% | 0.9000 | 0.7000 to 0.9600 |" in card
    (code,) = re.findall(r"^print\(.*\)$", card, flags=re.MULTILINE)
    said: list[str] = []
    known = {"manifest": dict(manifest), "probabilities": np.array([0.2, 0.8])}
    exec(code, known | {"print": said.append})  # noqa: S102  what the card has its reader run
    assert said == ["b"]


def test_an_encoder_in_a_folder_is_not_taken_for_one_of_the_hub(
    bundle: Path, tmp_path: Path
) -> None:
    local = BundledEncoder(config=EncoderConfig(name=str(tmp_path)), revision="r")
    manifest = read_manifest(bundle).model_copy(update={"encoders": (local,)})
    assert "base_model" not in model_card(manifest, METRICS)


def test_the_vectors_of_several_encoders_are_put_side_by_side(bundle: Path) -> None:
    (one,) = read_manifest(bundle).encoders
    other = EncoderConfig(name="some/other", max_seq_length=64, prompt="query: ")
    both = (one, BundledEncoder(config=other, revision="r"))
    card = model_card(read_manifest(bundle).model_copy(update={"encoders": both}), METRICS)
    assert "on the embeddings of `all-MiniLM-L6-v2` and `some/other (max_seq_length=64" in card
    assert ModelCard(card).data.base_model == [
        "sentence-transformers/all-MiniLM-L6-v2",
        "some/other",
    ]
    assert "encoder_1.max_seq_length = 64\nvectors = np.hstack([encoder_0.encode(" in card
    assert """encoder_1.encode(["Some text"], prompt='query: ')])""" in card


def test_the_lines_of_python_name_the_commit_and_the_prompt_that_there_is_not(bundle: Path) -> None:
    hub = BundledEncoder(config=EncoderConfig(name="some/other", prompt=""), revision="a" * 40)
    card = model_card(read_manifest(bundle).model_copy(update={"encoders": (hub,)}), METRICS)
    assert f"SentenceTransformer('some/other', revision='{'a' * 40}')" in card
    assert "unless `HF_HUB_OFFLINE=1` is in the environment." in card
    assert """encode(["Some text"], prompt='')""" in card


def test_it_says_where_the_lines_of_python_need_a_hand(bundle: Path, tmp_path: Path) -> None:
    config = EncoderConfig(name=str(tmp_path), backend="openvino-int8")
    local = BundledEncoder(config=config, revision="r")
    card = model_card(read_manifest(bundle).model_copy(update={"encoders": (local,)}), METRICS)
    assert f"`{tmp_path}` is a folder: name where the encoder is on your machine." in card
    assert "tagsweep embeds with openvino-int8" in card


def test_a_labels_name_is_no_markup(bundle: Path) -> None:
    name = "a|b <img src=x>\n# c"
    manifest = read_manifest(bundle).model_copy(update={"label_names": (name, "b")})
    card = model_card(manifest, metrics_of(name, "b"))
    assert r"| a\|b \<img src=x\> \# c | 20 |" in card
    assert "\n# c" not in card


def test_a_kernel_machine_is_told_for_the_embeddings_that_it_holds(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert "`ensemble.keras` hold embeddings" not in model_card(manifest, METRICS)
    teams = [{"trial": 1, "share": 0.5}, {"trial": None, "share": 0.5}]
    card = model_card(manifest, METRICS | {"ensemble": {"source": "greedy", "teams": teams}})
    assert "`reference.npz` and `ensemble.keras` hold embeddings of some training texts" in card


def test_ten_lines_of_python_predict_as_tagsweep_does_and_need_no_network(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 10
    predictor = load_predictor(read_bundle(bundle))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=bundle, capture_output=True, text=True, check=True
    )
    expected = predict(predictor, ["Some text"])
    labels = json.loads((bundle / "manifest.json").read_text())["label_names"]
    for line, label, probability, decision in zip(
        done.stdout.splitlines(), labels, *expected.probabilities, *expected.decisions, strict=True
    ):
        name, said, verdict = line.split()
        assert name == label
        assert float(said) == pytest.approx(probability, abs=1e-4)
        assert verdict == ("yes" if decision else "no")
