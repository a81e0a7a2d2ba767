import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
from ray.cluster_utils import Cluster
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer

from orchestrator.data import embeddings
from orchestrator.data.embeddings import embed
from shared.config.sections import EncoderConfig, WorkersConfig
from shared.encoding import backends
from shared.encoding.backends import Choice
from shared.encoding.chunks import Encoded, Loaded
from shared.encoding.encoder import Encoder, find_again, resolve_encoder
from shared.errors import InputError, TagsweepError
from shared.versions import versions
from tests.processes import living_children
from workers import launch_encoders, ray_encoders
from workers.ray_encoders import EncoderProcess

TEXTS = [f"text {i} has " + "many " * (i % 7) + "words" for i in range(90)]
NODE = socket.gethostname()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Return an encoder that loads in no time: a table of vectors of 16 numbers."""
    folder = tmp_path_factory.mktemp("encoder")
    packaged = Path(resolve_encoder(EncoderConfig()).location)
    tokenizer = Tokenizer.from_file(str(packaged / "tokenizer.json"))
    table = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 16))
    static = StaticEmbedding(tokenizer, embedding_weights=table.astype(np.float32))
    SentenceTransformer(modules=[static]).save(str(folder))
    return resolve_encoder(EncoderConfig(name=str(folder)))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    running = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    yield running
    running.shutdown()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "CHUNK", 10)


def ignore(_done: int, _total: int) -> None:
    pass


def embed_on(
    address: str | None,
    encoder: Encoder,
    cache: Path,
    on_progress: Callable[[int, int], None] = ignore,
    **workers: Any,
) -> np.ndarray:
    config = WorkersConfig.model_validate(workers)
    encoding = partial(launch_encoders, config, None if address else 2, address)
    return embed(TEXTS, encoder, cache, on_progress, encoding).vectors


def test_vectors_are_those_of_one_process_though_a_process_is_killed(
    encoder: Encoder, tmp_path: Path, foreign_folder: Path
) -> None:
    done: list[int] = []
    seen: set[psutil.Process] = set()

    def kill(n_done: int, _total: int) -> None:
        done.append(n_done)
        living = living_children("ray::EncoderProcess")
        seen.update(living)
        if n_done == 30:
            living[0].kill()

    made = embed_on(None, encoder, tmp_path / "ray", kill)
    np.testing.assert_array_equal(made, embed(TEXTS, encoder, tmp_path / "one", ignore).vectors)
    assert done == list(range(0, 100, 10))
    assert psutil.wait_procs(seen, timeout=30)[1] == []
    assert not list(foreign_folder.rglob("ran-*")), "they encode with our code"


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put a process in the place of the real one that does as the texts say; return its notes."""
    notes = tmp_path / "notes"
    notes.touch()

    class EncoderProcess:
        def __init__(self, _n_threads: int, _drivers: Mapping[str, str]) -> None:
            pass

        def ping(self) -> None:
            pass

        def choose(self, _encoder: Encoder, _sample: Sequence[str], _n_texts: int) -> Loaded:
            return Loaded(Choice("torch-bf16", 2.0), 1, 256)

        def load(self, encoder: Encoder) -> str:
            return f"told to take {encoder.backend}"

        def encode(self, chunk: Sequence[str]) -> Encoded:
            with notes.open("a") as file:
                file.write(f"{len(chunk)}\n")
            if "die" in chunk:
                os._exit(1)
            if "fail" in chunk:
                raise TagsweepError("The encoder failed.")
            return Encoded(np.array([[len(text)] for text in chunk], np.float32), 1)

    monkeypatch.setattr(ray_encoders, "EncoderProcess", EncoderProcess)
    return notes


@pytest.mark.usefixtures("cases")
def test_a_process_that_gives_a_text_no_vector_is_refused(
    cluster: Cluster, encoder: Encoder, tmp_path: Path
) -> None:
    encoding = partial(launch_encoders, WorkersConfig(), None, cluster.address)
    with pytest.raises(TagsweepError, match="text of row 2 .* computed with torch-bf16"):
        embed(["text", "", "more text"], encoder, tmp_path, ignore, encoding)
    assert not list(tmp_path.glob("*[!l].npy"))


def test_an_interrupted_call_leaves_no_process_and_goes_on_with_what_it_has_not_done(
    cluster: Cluster, encoder: Encoder, tmp_path: Path, cases: Path
) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_on(cluster.address, encoder, tmp_path, interrupt)
    assert not ray.is_initialized()
    calls: list[tuple[int, int]] = []
    made = embed_on(cluster.address, encoder, tmp_path, lambda *call: calls.append(call))
    assert made.tolist() == [[len(text)] for text in TEXTS]
    assert calls == [(done, 90) for done in range(40, 100, 10)]
    assert 9 <= len(cases.read_text().split()) <= 11, "two were under way"


def test_texts_that_end_every_process_are_given_up(
    cluster: Cluster, encoder: Encoder, cases: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chunks = [["a"], ["die", "b"], ["c"]]
    with (
        launch_encoders(WorkersConfig(), None, cluster.address, encoder, chunks) as (_, encoded),
        pytest.raises(TagsweepError, match="3 processes died over the same texts"),
    ):
        list(encoded)
    assert cases.read_text().split().count("2") == 3
    assert "told to take torch-bf16" in caplog.text, "as one was that took a lost one's place"


def test_an_error_of_the_encoder_is_one_clear_line(
    cluster: Cluster, encoder: Encoder, cases: Path
) -> None:
    assert cases.exists()
    with (
        launch_encoders(WorkersConfig(), 1, cluster.address, encoder, [["fail"]]) as (_, encoded),
        pytest.raises(TagsweepError, match=r"^The encoder failed\.$"),
    ):
        list(encoded)


def test_a_cluster_without_a_place_in_time_is_one_clear_error(
    cluster: Cluster, encoder: Encoder, tmp_path: Path, cases: Path
) -> None:
    assert cases.exists()
    with pytest.raises(TagsweepError, match=r"place to encode .* 1 GPUs, but there is none"):
        embed_on(cluster.address, encoder, tmp_path, gpus_per_worker=1, start_timeout_s=1)


def test_a_process_that_has_another_version_is_refused_with_that_cause(
    cluster: Cluster, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_encoders, "versions", lambda: {"keras": "0"})
    encoders = launch_encoders(WorkersConfig(), 1, cluster.address, encoder, [["a"]])
    with pytest.raises(TagsweepError, match=r"died as they started: .* the driver's 0"), encoders:
        pass


@pytest.fixture
def process() -> EncoderProcess:
    import torch

    return EncoderProcess(torch.get_num_threads(), versions())


def test_a_node_without_the_encoder_says_what_to_do(
    process: EncoderProcess, encoder: Encoder, tmp_path: Path
) -> None:
    elsewhere = replace(encoder, name="mine", location=str(tmp_path / "mine"))
    with pytest.raises(InputError, match=rf"On node {NODE}: There is no folder .*/mine.* every"):
        process.load(elsewhere)
    with pytest.raises(InputError, match=rf"On node {NODE}: .* but .* has others"):
        process.load(replace(encoder, revision="0123456789abcdef"))


def test_a_node_that_cannot_compute_what_was_chosen_takes_torch_and_says_so(
    process: EncoderProcess, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "has_bfloat16", lambda: False)
    obstacle = process.load(replace(encoder, backend="torch-bf16"))
    assert obstacle == f"{NODE} encodes with torch: This machine does not compute in bfloat16."
    assert process.encode(["a text"]).vectors.dtype == np.float32
    with pytest.raises(InputError, match=rf"On node {NODE}: .* needs a transformer"):
        process.load(replace(encoder, backend="openvino-int8"))


def test_an_encoder_is_found_again_by_what_it_is(encoder: Encoder) -> None:
    assert find_again(encoder).revision == encoder.revision
    packaged = resolve_encoder(EncoderConfig(prompt="query: "))
    assert find_again(packaged) == packaged


def test_without_a_cluster_one_process_encodes(encoder: Encoder) -> None:
    with launch_encoders(WorkersConfig(), None, None, encoder, [["a"]]) as (loaded, encoded):
        assert (loaded.n_dims, [number for number, _ in encoded]) == (16, [0])
    assert not ray.is_initialized()
