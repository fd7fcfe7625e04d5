"""Batches do not change masks, and the faster way to run is found by measuring."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.serving.engine.execution import (
    BatchingBackend,
    LimitedBackend,
    choose,
    largest_batch,
)
from tests.helpers.backends import ChannelBackend, random_batches
from tests.helpers.cards import make_card


class TimedBackend(ChannelBackend):
    """A backend whose calls take a time per call and a time per image."""

    def __init__(self, *, per_call: float, per_image: float, device: str = "test cpu") -> None:
        super().__init__(make_card(8, 8, classes=("red", "green", "blue")))
        self.device = device
        self._per_call, self._per_image = per_call, per_image

    def run(self, batch: Batch) -> NetworkOutput:
        time.sleep(self._per_call + self._per_image * len(batch))
        return super().run(batch)


def test_each_caller_gets_the_output_of_its_own_images() -> None:
    """What else was in the batch must not reach a client."""
    sizes: list[int] = []
    backend = BatchingBackend(ChannelBackend(), size=8, delay=0.02, on_batch=sizes.append)
    batches = random_batches(24, height=8, width=8)

    with ThreadPoolExecutor(12) as pool:
        outputs = list(pool.map(backend.run, batches))

    for batch, output in zip(batches, outputs, strict=True):
        assert np.array_equal(output, ChannelBackend().run(batch))
    assert sum(sizes) == sum(map(len, batches))
    assert max(sizes) <= 8
    assert len(sizes) < len(batches)


def test_images_of_two_sizes_are_not_batched() -> None:
    """A network that takes any size may be asked for two at once."""
    backend = BatchingBackend(ChannelBackend(), size=4, delay=0.02)
    batches = [np.full((1, 4 + number % 2, 6, 3), number, np.uint8) for number in range(8)]

    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(backend.run, batches))

    assert [output.shape[2] for output in outputs] == [4, 5] * 4
    assert [float(output.max()) for output in outputs] == list(range(8))


def test_error_of_a_batch_reaches_all_its_callers_and_the_next_one_runs() -> None:
    """A failing call must leave nobody waiting."""

    class Failing(ChannelBackend):
        def run(self, batch: Batch) -> NetworkOutput:
            if batch.max() == 13:
                raise MemoryError
            return super().run(batch)

    backend = BatchingBackend(Failing(), size=1, delay=0)
    with pytest.raises(MemoryError):
        backend.run(np.full((1, 4, 4, 3), 13, np.uint8))

    assert backend.run(np.zeros((1, 4, 4, 3), np.uint8)).shape == (1, 3, 4, 4)


def test_no_more_callers_than_the_backend_was_loaded_for() -> None:
    """Workers may be more than a model's sessions."""
    most, inside, lock = [0], [0], threading.Lock()

    class Counting(ChannelBackend):
        def run(self, batch: Batch) -> NetworkOutput:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.002)
            with lock:
                inside[0] -= 1
            return super().run(batch)

    backend = LimitedBackend(Counting(), callers=2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(backend.run, random_batches(16, height=4, width=4)))

    assert most == [2]


@pytest.mark.parametrize(
    ("per_call", "per_image", "batch"), [(0.0, 0.012, 1), (0.02, 0.0, 16)], ids=["apart", "batches"]
)
def test_the_faster_way_is_chosen(per_call: float, per_image: float, batch: int) -> None:
    """A device that gains by batches gets them; cores that work apart do not wait."""
    chosen, _ = choose(
        lambda _threads, _callers: TimedBackend(per_call=per_call, per_image=per_image),
        mode="auto",
        count=2,
        seconds=0,
    )

    assert chosen.batch == batch
    assert chosen.callers == (2 if batch == 1 else 1)
    assert "measured" in str(chosen)


def test_batches_that_change_the_output_are_not_used() -> None:
    """Some devices choose another algorithm for a larger batch, and labels would depend on it."""

    class Rounding(ChannelBackend):
        device = "a device"

        def run(self, batch: Batch) -> NetworkOutput:
            return super().run(batch) + np.float32(1e-3 * (len(batch) > 2))

    assert largest_batch(Rounding(make_card(4, 4, classes=("r", "g", "b")))) <= 2
