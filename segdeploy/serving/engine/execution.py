"""How a network uses the device: one image per core, or batches; chosen by measuring both."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import BoundedSemaphore, Condition
from typing import Literal

import numpy as np

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import Backend, WrappedBackend, empty_batch
from segdeploy.system.machine import cores
from segdeploy.video.pipeline import BATCH_SIZES, MIN_SPEEDUP

Mode = Literal["auto", "cores", "batch"]

SECONDS = 0.4
"""How long each way is measured."""

Load = Callable[[int, int], Backend]
"""Loads the network for a number of threads and a number of callers."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a network runs.

    Attributes:
        callers: Calls of the network at the same time.
        threads: Threads of each call.
        batch: Images of one call at most.
        reason: What was measured, for people.
    """

    callers: int
    threads: int
    batch: int
    reason: str

    @property
    def workers(self) -> int:
        """Threads that prepare images and make masks: enough to fill a batch while one runs."""
        return self.callers if self.batch == 1 else max(cores(), min(64, 2 * self.batch))

    def __str__(self) -> str:
        if self.batch > 1:
            how = f"batches of up to {self.batch}"
        elif self.callers == 1:
            how = f"one image at a time on {self.threads} threads"
        else:
            how = f"{self.callers} images at a time, one core each"
        return f"{how} ({self.reason})"


def choose(
    load: Load,
    *,
    mode: Mode,
    batch: int | None = None,
    count: int | None = None,
    seconds: float = SECONDS,
) -> tuple[Execution, Backend]:
    """Return how a network runs fastest, and the network loaded for it.

    Args:
        load: Loads it.
        mode: "auto" measures; the others are taken as they are.
        batch: Largest batch; None for the fastest.
        count: Cores; those of the process where None.
        seconds: How long each way is measured.
    """
    count = count or cores()
    if mode == "cores":
        one = Execution(callers=count, threads=1, batch=1, reason="as --schedule says")
        return one, load(1, count)
    all_cores = load(count, 1)
    if mode == "batch" or "cpu" not in all_cores.device.lower():
        size = batch or largest_batch(all_cores, seconds=seconds)
        return Execution(callers=1, threads=count, batch=size, reason=_why(mode, batch)), all_cores
    if count == 1:
        one = Execution(callers=1, threads=1, batch=1, reason="there is one core")
        return one, all_cores
    size = min(largest_batch(all_cores, seconds=seconds), batch or BATCH_SIZES[-1])
    per_core = load(1, count)
    apart = rate(per_core, callers=count, batch=1, seconds=seconds)
    together = rate(all_cores, callers=1, batch=size, seconds=seconds)
    reason = f"measured {apart:.3g} images per second against {together:.3g}"
    if together > MIN_SPEEDUP * apart:
        return Execution(callers=1, threads=count, batch=size, reason=reason), all_cores
    return Execution(callers=count, threads=1, batch=1, reason=reason), per_core


def _why(mode: Mode, batch: int | None) -> str:
    if mode == "batch":
        return "as --schedule says"
    return "as --max-batch says" if batch else "the fastest batch of this device"


def largest_batch(backend: Backend, *, seconds: float = SECONDS) -> int:
    """Return the smallest batch size after which a larger one is hardly faster.

    Only sizes count whose output is that of single images to the bit: a mask must not depend on
    what else was in its batch.

    Args:
        backend: The network.
        seconds: How long each size is measured.
    """
    spec = backend.card.input
    random = np.random.default_rng(0)
    blank = empty_batch(spec, BATCH_SIZES[-1])
    images = random.integers(0, 256, blank.shape, dtype=np.uint8).astype(blank.dtype)
    best, most = 1, 0.0
    for size in BATCH_SIZES:
        singles = [backend.run(images[index : index + 1]) for index in range(size)]
        if not np.array_equal(backend.run(images[:size]), np.concatenate(singles)):
            break
        speed = rate(backend, callers=1, batch=size, seconds=seconds)
        if speed < most * MIN_SPEEDUP:
            break
        best, most = size, speed
    return best


def rate(
    backend: Backend,
    *,
    callers: int,
    batch: int,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return how many images per second a network segments.

    Args:
        backend: The network; it runs once for warm-up.
        callers: Threads that call it.
        batch: Images of each call.
        seconds: How long is measured.
        clock: Returns the time in seconds.
    """
    spec = backend.card.input
    images = empty_batch(spec, batch)
    backend.run(images)
    start = clock()

    def call_until_end(_: int) -> int:
        calls = 0
        while not calls or clock() < start + seconds:
            backend.run(images)
            calls += 1
        return calls

    with ThreadPoolExecutor(callers) as pool:
        calls = sum(pool.map(call_until_end, range(callers)))
    return calls * batch / (clock() - start)


class LimitedBackend(WrappedBackend):
    """A backend that as many threads call at the same time as it was loaded for."""

    def __init__(
        self, inner: Backend, *, callers: int, on_batch: Callable[[int], None] = lambda _: None
    ) -> None:
        """Wrap a backend.

        Args:
            inner: Runs the network.
            callers: How many calls it takes at the same time.
            on_batch: Called with the number of images of each call.
        """
        super().__init__(inner)
        self._free = BoundedSemaphore(callers)
        self._on_batch = on_batch

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output of the inner backend, once a place is free."""
        with self._free:
            self._on_batch(len(batch))
            return self._inner.run(batch)


class _Call:
    """One caller's images, and their output once it is there."""

    def __init__(self, images: Batch) -> None:
        self.images = images
        self.output: NetworkOutput | None = None
        self.error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.output is not None or self.error is not None


class BatchingBackend(WrappedBackend):
    """A backend that runs the images of several callers in one call.

    The first caller waits for others, runs the batch for all, and leaves the next batch to one of
    those that wait; there is no thread of its own.
    """

    def __init__(
        self,
        inner: Backend,
        *,
        size: int,
        delay: float,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Wrap a backend.

        Args:
            inner: Runs the network.
            size: Images of one call at most; each caller brings no more.
            delay: Seconds that the first image of a batch waits for others.
            on_batch: Called with the number of images of each call.
        """
        super().__init__(inner)
        self._size, self._delay, self._on_batch = size, delay, on_batch
        self._waiting: list[_Call] = []
        self._is_led = False
        self._changed = Condition()

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output for (N, H, W, 3) images of one caller; see `Backend.run`."""
        call = _Call(batch)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
            while not call.is_done:
                if self._is_led:
                    self._changed.wait()
                    continue
                self._is_led = True
                self._changed.wait_for(self._is_full, self._delay)
                calls = self._take()
                self._changed.release()
                try:
                    self._run_all(calls)
                finally:
                    self._changed.acquire()
                    self._is_led = False
                    self._changed.notify_all()
        if call.error is not None:
            raise call.error
        assert call.output is not None, "a call without an error has an output"
        return call.output

    def _is_full(self) -> bool:
        return sum(len(call.images) for call in self._waiting) >= self._size

    def _take(self) -> list[_Call]:
        """Take the calls of the next batch: the oldest, of one size of image."""
        taken, count = [self._waiting[0]], len(self._waiting[0].images)
        for call in self._waiting[1:]:
            fits = call.images.shape[1:] == taken[0].images.shape[1:]
            if fits and count + len(call.images) <= self._size:
                taken.append(call)
                count += len(call.images)
        self._waiting = [call for call in self._waiting if call not in taken]
        return taken

    def _run_all(self, calls: list[_Call]) -> None:
        images = calls[0].images if len(calls) == 1 else np.concatenate([c.images for c in calls])
        self._on_batch(len(images))
        try:
            output = self._inner.run(images)
        except BaseException as error:  # noqa: BLE001 - every caller raises it
            for call in calls:
                call.error = error
            return
        start = 0
        for call in calls:
            call.output = output[start : start + len(call.images)]
            start += len(call.images)
