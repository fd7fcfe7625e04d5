"""Where the time goes: how long each stage of the pipeline took."""

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
"""The stages by the thread that they run in; those in the middle may run in several at once."""

FULL = 0.9
"""Share of the cores' time from which on the processor itself is what holds everything back."""


@dataclass(frozen=True, kw_only=True)
class StageTime:
    """How long one stage took, in seconds.

    Attributes:
        p50: Median of a frame.
        p95: 95th percentile of a frame.
        total: All frames together.
    """

    p50: float
    p95: float
    total: float


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """How long each stage took (wall time).

    Stages of different threads run at the same time.

    Attributes:
        frames: How many frames were written.
        wall: Seconds from the first frame's decoding until the last one was written.
        busy: Seconds of processor time that the process took meanwhile, on all cores together.
        cores: How many cores it may use.
        workers: How many threads prepare, infer, mask and draw; 0 where one stage follows the
            other.
        decode: Reading a frame, upright and in blue-green-red.
        prepare: Bringing it to the network's size and order.
        infer: The network.
        mask: From logits to the class of each pixel.
        draw: Laying the colors over the frame.
        encode: Writing whatever is saved.
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
        """Frames a second (wall time), everything counted."""
        return self.frames / self.wall

    @property
    def stages(self) -> Mapping[str, StageTime]:
        """The stages by name, in the order of a frame."""
        return {stage: getattr(self, stage) for thread in THREADS for stage in thread}

    @property
    def load(self) -> float:
        """Share of the cores' time that was used."""
        return self.busy / (self.wall * self.cores)

    @property
    def slowest(self) -> str:
        """The stage that holds the others back."""
        totals = {name: stage.total for name, stage in self.stages.items()}
        return slowest_stage(totals, workers=0 if self.load >= FULL else self.workers)

    @property
    def verdict(self) -> str:
        """What holds it back, in a sentence without its full stop."""
        name = self.slowest
        if self.workers == 0:
            return f"one stage follows the other, and {name} takes longest"
        if self.load >= FULL:
            return f"{_cores(self.cores)} full, and {name} takes most of the time"
        thread = next(thread for thread in THREADS if name in thread)
        count = self.workers if len(thread) > 1 else 1
        share = sum(self.stages[stage].total for stage in thread) / (self.wall * count)
        return f"{name} holds it back: its thread{'s' * (count > 1)} worked {share:.0%} of the time"

    def to_dict(self) -> dict[str, Any]:
        """Return the times in seconds, as values that JSON knows, with the rate and the slowest stage beside them."""
        return {**asdict(self), "rate": self.rate, "slowest": self.slowest}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave; a missing key is a KeyError."""
        stages: dict[str, Any] = {
            stage: StageTime(**values[stage]) for thread in THREADS for stage in thread
        }
        return cls(
            **{name: values[name] for name in ("frames", "wall", "busy", "cores", "workers")},
            **stages,
        )


def slowest_stage(totals: Mapping[str, float], *, workers: int) -> str:
    """Name the stage that holds the others back: the longest one of the busiest thread.

    Args:
        totals: Seconds of each stage, all frames together.
        workers: How many threads share the stages in the middle; 0 where all stages share the same
            cores: the longest one counts.
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
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        """Start to measure.

        Args:
            clock: Gives the time in seconds.
            processor: Gives the processor time of the process in seconds.
        """
        self._clock = clock
        self._processor = processor
        self._start = clock()
        self._start_busy = processor()
        # Four bytes a frame and stage: ten hours of video take 26 MB.
        self._spans = {stage: array("f") for thread in THREADS for stage in thread}
        self._totals = dict.fromkeys(self._spans, 0.0)
        self._changing = Lock()
        self._laps = local()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def slowest(self, workers: int) -> str:
        """Name the stage that holds the others back so far; see `slowest_stage`."""
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
        """Return a function that does the same for a batch of frames and measures each call, shared equally among them."""

        def measured(batch: B) -> R:
            start = self._clock()
            result = function(batch)
            self._add(stage, self._clock() - start, frames=len(batch))
            return result

        return measured

    def timed_items(self, stage: str, items: Iterable[R]) -> Iterator[R]:
        """Return the same items and measure how long each takes to come."""
        following = self.timed(stage, iter(items).__next__)
        while True:
            try:
                item = following()
            except StopIteration:
                return
            yield item

    def read(self, frames: int, *, workers: int = 1) -> StageTimes:
        """Return the times until now of so many frames; `workers` as in `StageTimes`."""
        spans: dict[str, Any] = {stage: _summary(values) for stage, values in self._spans.items()}
        busy = self._processor() - self._start_busy
        return StageTimes(
            frames=frames, wall=self.elapsed, busy=busy, cores=cores(), workers=workers, **spans
        )

    def lap(self) -> dict[str, float]:
        """Return the seconds a frame of each stage that this thread measured since it last asked."""
        lap = vars(self._laps).copy()
        vars(self._laps).clear()
        return lap

    def _add(self, stage: str, seconds: float, *, frames: int) -> None:
        vars(self._laps)[stage] = seconds / frames
        with self._changing:
            self._spans[stage].extend([seconds / frames] * frames)
            self._totals[stage] += seconds


def _cores(count: int) -> str:
    return "the core is" if count == 1 else f"the {count} cores are"


def _summary(spans: "array[float]") -> StageTime:
    if not spans:
        return StageTime(p50=0.0, p95=0.0, total=0.0)
    # What np.percentile gives, without the 10 ms that its first call takes.
    p50, p95 = np.interp(
        np.multiply((0.50, 0.95), len(spans) - 1), np.arange(len(spans)), np.sort(spans)
    )
    return StageTime(p50=float(p50), p95=float(p95), total=float(np.sum(spans, dtype=np.float64)))
