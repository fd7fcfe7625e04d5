"""How frames share the cores: many at a time, or one as quickly as can be.

And how many the network is given at once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np

from segdeploy.backends.base import Backend
from segdeploy.system.machine import cores

SIZES = (1, 2, 4, 8, 16)
"""Batches that are tried where the device may gain by them."""

GAIN = 1.05
"""How many times as fast a larger batch must be: it costs memory, and a moment before the first
frame."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How frames share the cores.

    On a processor one thread a frame and a frame a core gives 10 to 25% more frames a second than
    all cores on one frame, which in turn has the first answer sooner.

    Attributes:
        throughput: Whether frames are worked on in parallel, each by a network of one thread,
            instead of one at a time by all cores.
        serial: Whether one stage follows the other; nothing is parallel then but the network in
            itself.
        threads: Cores that the network may use, together; as many as the process may use where
            None.
        batch: How many frames the network is given at once; None for what the device gains by.
    """

    throughput: bool = True
    serial: bool = False
    threads: int | None = None
    batch: int | None = 1

    @property
    def workers(self) -> int:
        """How many batches are worked on at the same time."""
        return (self.threads or cores()) if self.throughput and not self.serial else 1

    @property
    def network_threads(self) -> int:
        """Threads of one call of the network."""
        return 1 if self.throughput and not self.serial else self.threads or cores()

    def fitted(self, frames: int | None) -> Self:
        """Return the pace for so many frames, None for nobody knows.

        Too few for all cores are worked on one by one, by all cores each.
        """
        return self if frames is None or frames >= self.workers else replace(self, throughput=False)

    def share_cores(self) -> None:
        """Let OpenCV, which counts the host's cores, use one where frames are parallel already, or those that are granted."""
        cv2.setNumThreads(1 if self.workers > 1 else cores())

    def batch_for(self, backend: Backend) -> int:
        """Return the batch that was asked for, or the one that the device gains by.

        A processor gains by none.
        """
        if self.batch is not None:
            return self.batch
        return 1 if "cpu" in backend.device.lower() else best_batch(backend)


def best_batch(
    backend: Backend, *, runs: int = 3, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Find the smallest batch from which on a larger one is hardly any faster, by trying them.

    Args:
        backend: The loaded network; each size is run once more than it is timed, which readies the
            device for it.
        runs: Timed runs of each size; the quickest counts.
        clock: Gives the time in seconds.
    """
    spec = backend.card.input
    best, least = 1, float("inf")
    for size in SIZES:
        batch = np.zeros((size, spec.height, spec.width, 3), np.uint8)
        backend.run(batch)
        spans = []
        for _ in range(runs):
            start = clock()
            backend.run(batch)
            spans.append(clock() - start)
        if min(spans) / size * GAIN > least:
            break
        best, least = size, min(spans) / size
    return best
