"""How frames share the cores, worked out by hand."""

import numpy as np
import numpy.typing as npt
import pytest

from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.system.machine import cores
from segdeploy.video.schedule import Schedule, best_batch


class Timed:
    """A network that takes so many seconds for a call and for each image of it, by a clock of its
    own.
    """

    device = "test cuda:0"

    def __init__(self, *, call: float, image: float) -> None:
        spec = InputSpec(height=2, width=2, mean=(0, 0, 0), std=(1, 1, 1))
        self.card = ModelCard(
            architecture="timed", classes=(LabelClass(name="all", color=(0, 0, 0)),), input=spec
        )
        self.now = 0.0
        self._cost = (call, image)

    def run(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        call, image = self._cost
        self.now += call + image * len(batch)
        return np.zeros((len(batch), 1, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "image", "batch"),
    [
        (0.0, 1.0, 1),
        # 2, 1.5, 1.25, 1.125, 1.0625 seconds an image: from 8 to 16 the gain is 1.059.
        (1.0, 1.0, 16),
        # 1.2, 1.1, 1.05: from 2 to 4 the gain is 1.048.
        (0.2, 1.0, 2),
    ],
)
def test_batch_grows_while_it_pays(call: float, image: float, batch: int) -> None:
    """A call that costs nothing in itself gains nothing by a batch."""
    network = Timed(call=call, image=image)

    assert best_batch(network, clock=lambda: network.now) == batch


@pytest.mark.parametrize(
    ("frames", "workers", "threads"), [(1, 1, 4), (3, 1, 4), (4, 4, 1), (1000, 4, 1), (None, 4, 1)]
)
def test_few_frames_have_all_cores(frames: int | None, workers: int, threads: int) -> None:
    """Of one image nothing is parallel but the network in itself: the other cores would watch."""
    schedule = Schedule(threads=4).for_frames(frames)

    assert (schedule.workers, schedule.network_threads) == (workers, threads)


def test_processor_gains_by_no_batch() -> None:
    """What was asked for is taken, and `auto` costs a processor not one call."""
    network = Timed(call=1.0, image=1.0)
    network.device = "test CPUExecutionProvider"

    assert Schedule(batch=None).batch_for(network) == 1
    assert Schedule(batch=3).batch_for(network) == 3
    assert network.now == 0


@pytest.mark.parametrize(
    ("schedule", "workers", "threads"),
    [
        (Schedule(threads=3), 3, 1),
        (Schedule(threads=3, throughput=False), 1, 3),
        (Schedule(threads=3, serial=True), 1, 3),
        (Schedule(), cores(), 1),
        (Schedule(throughput=False), 1, cores()),
    ],
)
def test_cores_are_shared(schedule: Schedule, workers: int, threads: int) -> None:
    """Never more threads than cores: they would cost a factor of two."""
    assert (schedule.workers, schedule.network_threads) == (workers, threads)
