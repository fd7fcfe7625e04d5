"""Times of the pipeline's stages, and which stage is the bottleneck."""

import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import asdict, dataclass
from threading import Lock, local
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np

from segdeploy.system.machine import cores

B = TypeVar("B", bound=Sized)
P = ParamSpec("P")
R = TypeVar("R")

THREADS = (("decode",), ("prepare", "infer", "mask", "draw"), ("encode",))
"""The stages by the thread that they run in; the middle ones may run in several at once."""

FULL_LOAD = 0.9
"""Share of the cores' time from which on the CPU itself is the bottleneck."""


@dataclass(frozen=True, kw_only=True)
class StageTime:
    """Time of one stage, in seconds.

    Attributes:
        p50: Median per frame.
        p95: 95th percentile per frame.
        total: Sum over all frames.
    """

    p50: float
    p95: float
    total: float


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Wall time of each stage; stages of different threads run at the same time.

    Attributes:
        frames: Number of frames that were written.
        wall: Seconds from the first frame's decoding until the last one was written.
        busy: Seconds of CPU time of the process meanwhile, on all cores together.
        cores: Number of cores that the process may use.
        workers: Threads that prepare, infer, mask and draw; 0 for a serial run.
        decode: Decoding a frame, upright and in blue-green-red.
        prepare: Preprocessing to the network's input.
        infer: The network.
        mask: Postprocessing from logits to the class of each pixel.
        draw: Drawing, for example the overlay.
        encode: Encoding and writing all outputs.
    """

    frames: int
    wall: float
    busy: float = 0.0
    cores: int = 1
    workers: int = 1
    decode: StageTime
    prepare: StageTime
    infer: StageTime
    mask: StageTime
    draw: StageTime
    encode: StageTime

    @property
    def rate(self) -> float:
        """Frames per second (wall time), with all stages."""
        return self.frames / self.wall

    @property
    def stages(self) -> Mapping[str, StageTime]:
        """The stages by name, in the order of a frame."""
        return {stage: getattr(self, stage) for thread in THREADS for stage in thread}

    @property
    def load(self) -> float:
        """Share of the cores' time that was used, in [0, 1]."""
        return self.busy / (self.wall * self.cores)

    @property
    def slowest(self) -> str:
        """Name of the stage that is the bottleneck."""
        totals = {name: stage.total for name, stage in self.stages.items()}
        return slowest_stage(totals, workers=0 if self.load >= FULL_LOAD else self.workers)

    @property
    def bottleneck(self) -> str:
        """What limits the speed, as a sentence without a period."""
        name = self.slowest
        if self.workers == 0:
            return f"the stages run one after the other, and {name} takes longest"
        if self.load >= FULL_LOAD:
            return f"{_cores(self.cores)} full, and {name} takes most of the time"
        thread = next(thread for thread in THREADS if name in thread)
        count = self.workers if len(thread) > 1 else 1
        share = sum(self.stages[stage].total for stage in thread) / (self.wall * count)
        threads = "threads" if count > 1 else "thread"
        return f"{name} is the bottleneck: its {threads} worked {share:.0%} of the time"

    def to_dict(self) -> dict[str, Any]:
        """Return the times in seconds as JSON values, with the rate and the slowest stage."""
        return {**asdict(self), "rate": self.rate, "slowest": self.slowest}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the times that `to_dict` returned; a missing key raises KeyError."""
        stages: dict[str, Any] = {
            stage: StageTime(**values[stage]) for thread in THREADS for stage in thread
        }
        return cls(
            **{name: values[name] for name in ("frames", "wall", "busy", "cores", "workers")},
            **stages,
        )


def slowest_stage(totals: Mapping[str, float], *, workers: int) -> str:
    """Return the name of the bottleneck: the longest stage of the busiest thread.

    Args:
        totals: Seconds of each stage, over all frames.
        workers: Number of threads that share the middle stages; 0 where all stages share the same
            cores, so that the longest one counts.
    """
    shares = [1.0, max(1, workers), 1.0]
    busiest = max(
        zip(THREADS, shares, strict=True),
        key=lambda pair: sum(totals[stage] for stage in pair[0]) / pair[1],
    )[0]
    return max(busiest if workers else totals, key=lambda stage: totals[stage])


class StageClock:
    """Measures the stages while they run, in any number of threads."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        *,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        """Start to measure.

        Args:
            clock: Returns the time in seconds.
            cpu_clock: Returns the CPU time of the process in seconds.
        """
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._start = clock()
        self._start_busy = cpu_clock()
        # Four bytes per frame and stage: ten hours of video take 26 MB.
        self._spans = {stage: array("f") for thread in THREADS for stage in thread}
        self._totals = dict.fromkeys(self._spans, 0.0)
        self._lock = Lock()
        self._laps = local()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def slowest(self, workers: int) -> str:
        """Return the name of the bottleneck so far; see `slowest_stage`."""
        return slowest_stage(self._totals, workers=workers)

    def timed(self, stage: str, function: Callable[P, R]) -> Callable[P, R]:
        """Return a function that does the same and measures each call."""

        def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            start = self._clock()
            result = function(*args, **kwargs)
            self._add(stage, self._clock() - start, frames=1)
            return result

        return measured

    def timed_batch(self, stage: str, function: Callable[[B], R]) -> Callable[[B], R]:
        """Return a function that does the same for a batch, and measures each call.

        The time is shared equally by the batch's frames.
        """

        def measured(batch: B) -> R:
            start = self._clock()
            result = function(batch)
            self._add(stage, self._clock() - start, frames=len(batch))
            return result

        return measured

    def timed_items(self, stage: str, items: Iterable[R]) -> Iterator[R]:
        """Return the same items and measure how long each takes to arrive."""
        read = self.timed(stage, iter(items).__next__)
        while True:
            try:
                item = read()
            except StopIteration:
                return
            yield item

    def read(self, frames: int, *, workers: int = 1) -> StageTimes:
        """Return the times so far of so many frames; `workers` as in `StageTimes`."""
        spans: dict[str, Any] = {stage: _summary(values) for stage, values in self._spans.items()}
        busy = self._cpu_clock() - self._start_busy
        return StageTimes(
            frames=frames, wall=self.elapsed, busy=busy, cores=cores(), workers=workers, **spans
        )

    def lap(self) -> dict[str, float]:
        """Return the seconds per frame of each stage in this thread since its last lap."""
        lap = vars(self._laps).copy()
        vars(self._laps).clear()
        return lap

    def _add(self, stage: str, seconds: float, *, frames: int) -> None:
        vars(self._laps)[stage] = seconds / frames
        with self._lock:
            self._spans[stage].extend([seconds / frames] * frames)
            self._totals[stage] += seconds


def _cores(count: int) -> str:
    return "the core is" if count == 1 else f"the {count} cores are"


def _summary(spans: "array[float]") -> StageTime:
    if not spans:
        return StageTime(p50=0.0, p95=0.0, total=0.0)
    # The same as np.percentile, without the 10 ms of its first call.
    p50, p95 = np.interp(
        np.multiply((0.50, 0.95), len(spans) - 1), np.arange(len(spans)), np.sort(spans)
    )
    return StageTime(p50=float(p50), p95=float(p95), total=float(np.sum(spans, dtype=np.float64)))
