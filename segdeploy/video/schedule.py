"""How frames share the cores, and how many form a batch."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np

from segdeploy.backends.base import Backend
from segdeploy.system.machine import cores

BATCH_SIZES = (1, 2, 4, 8, 16)
"""Batch sizes that are timed on devices other than CPUs."""

MIN_SPEEDUP = 1.05
"""How many times as fast a larger batch must be: it costs memory, and delays the first frame."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How frames share the cores.

    On a CPU, one frame per core with one thread each gives 10 to 25% more frames per second than
    all cores on one frame, which has the lower latency.

    Attributes:
        throughput: Whether frames are processed in parallel, each by a network of one thread,
            instead of one at a time by all cores.
        serial: Whether the stages run one after the other; only the network itself is parallel
            then.
        threads: Cores that the network may use, in total; all of the process's where None.
        batch: Frames per call of the network; None for the fastest on the device.
    """

    throughput: bool = True
    serial: bool = False
    threads: int | None = None
    batch: int | None = 1

    @property
    def workers(self) -> int:
        """How many batches are processed at the same time."""
        return (self.threads or cores()) if self.throughput and not self.serial else 1

    @property
    def network_threads(self) -> int:
        """Threads of the network in one call."""
        return 1 if self.throughput and not self.serial else self.threads or cores()

    def for_frames(self, frames: int | None) -> Self:
        """Return the schedule for a number of frames; None where it is unknown.

        Fewer frames than cores are processed one at a time, by all cores.
        """
        return self if frames is None or frames >= self.workers else replace(self, throughput=False)

    def share_cores(self) -> None:
        """Set the number of OpenCV's threads: 1 if frames are parallel, else the process's cores.

        By itself, OpenCV counts the host's.
        """
        cv2.setNumThreads(1 if self.workers > 1 else cores())

    def batch_for(self, backend: Backend) -> int:
        """Return the batch size: as set, or the fastest on the device; on a CPU, that is 1."""
        if self.batch is not None:
            return self.batch
        return 1 if "cpu" in backend.device.lower() else best_batch(backend)


def best_batch(
    backend: Backend, *, runs: int = 3, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Return the smallest batch size after which a larger one is hardly faster, by timing them.

    Args:
        backend: The loaded network; each size is run once for warm-up.
        runs: Timed runs of each size; the fastest counts.
        clock: Returns the time in seconds.
    """
    spec = backend.card.input
    best, best_seconds = 1, float("inf")
    for size in BATCH_SIZES:
        batch = np.zeros((size, spec.height, spec.width, 3), np.uint8)
        backend.run(batch)
        seconds = []
        for _ in range(runs):
            start = clock()
            backend.run(batch)
            seconds.append(clock() - start)
        if min(seconds) / size * MIN_SPEEDUP > best_seconds:
            break
        best, best_seconds = size, min(seconds) / size
    return best
