import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from orchestrator.bundle.predict import Prediction
from orchestrator.serving.batching import BATCH_TEXTS, MAX_WAITING_TEXTS, Batcher, FullError


class Lengths:
    """Predict a text's length, and remember the batches; hold them up while not `open`."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, texts: Sequence[str]) -> Prediction:
        assert self.open.wait(10)
        self.batches.append(list(texts))
        if "bad" in texts:
            raise RuntimeError("cannot predict")
        lengths = np.array([[len(text)] for text in texts], dtype=np.float32)
        return Prediction(lengths, lengths > 1)


async def _lengths(batcher: Batcher, *texts: str) -> list[float]:
    return [row[0] for row in (await batcher.submit(texts)).probabilities.tolist()]


def test_requests_that_come_together_go_together_and_each_gets_its_own() -> None:
    predict, told = Lengths(), list[int]()

    async def main() -> list[list[float]]:
        batcher = Batcher(predict, told.append)
        async with batcher.running():
            return await asyncio.gather(
                _lengths(batcher, "a", "bb"), _lengths(batcher, "ccc"), _lengths(batcher, "d")
            )

    assert asyncio.run(main()) == [[1, 2], [3], [1]]
    assert predict.batches == [["a", "bb", "ccc", "d"]]
    assert told == [4]


def test_a_batch_ends_at_the_request_that_fills_it() -> None:
    predict = Lengths()

    async def main() -> None:
        batcher = Batcher(predict, lambda _: None)
        async with batcher.running():
            await asyncio.gather(*(_lengths(batcher, *"ab" * 20) for _ in range(3)))

    asyncio.run(main())
    assert [len(batch) for batch in predict.batches] == [80, 40]
    assert BATCH_TEXTS <= 80


def test_too_many_waiting_texts_are_refused_and_room_comes_back() -> None:
    predict = Lengths()
    predict.open.clear()

    async def main() -> None:
        batcher = Batcher(predict, lambda _: None)
        async with batcher.running():
            first = asyncio.create_task(_lengths(batcher, "first"))
            await asyncio.sleep(0.1)  # until it is with the thread
            rest = asyncio.create_task(_lengths(batcher, *["x"] * MAX_WAITING_TEXTS))
            await asyncio.sleep(0)
            with pytest.raises(FullError):
                await batcher.submit(["one too many"])
            predict.open.set()
            await asyncio.gather(first, rest)
            assert batcher.n_waiting == 0
            assert await _lengths(batcher, "again") == [5]

    asyncio.run(main())


def test_an_error_reaches_who_waits_and_the_next_batch_is_predicted() -> None:
    predict = Lengths()

    async def main() -> None:
        batcher = Batcher(predict, lambda _: None)
        async with batcher.running():
            with pytest.raises(RuntimeError, match="cannot predict"):
                await batcher.submit(["bad"])
            assert await _lengths(batcher, "good") == [4]

    asyncio.run(main())


def test_a_caller_who_has_left_does_not_stop_the_others() -> None:
    predict = Lengths()

    async def main() -> None:
        batcher = Batcher(predict, lambda _: None)
        async with batcher.running():
            left = asyncio.create_task(_lengths(batcher, "left"))
            stays = asyncio.create_task(_lengths(batcher, "stays"))
            await asyncio.sleep(0)
            left.cancel()
            assert await stays == [5]

    asyncio.run(main())
