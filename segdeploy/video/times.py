"""Where the time goes: how long each stage of the pipeline took."""

import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

THREADS = (("decode",), ("prepare", "infer", "mask", "draw"), ("encode",))
"""The stages by the thread that they run in."""


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
    """How long each stage took by the clock on the wall; stages of different threads run at the same time.

    Attributes:
        frames: How many frames were written.
        wall: Seconds from the first frame's decoding until the last one was written.
        decode: Reading a frame, upright and in blue-green-red.
        prepare: Bringing it to the network's size and order.
        infer: The network.
        mask: From logits to the class of each pixel.
        draw: Laying the colors over the frame.
        encode: Writing whatever is saved.
    """

    frames: int
    wall: float
    decode: StageTime
    prepare: StageTime
    infer: StageTime
    mask: StageTime
    draw: StageTime
    encode: StageTime

    @property
    def rate(self) -> float:
        """Frames a second by the clock on the wall, everything counted."""
        return self.frames / self.wall

    @property
    def stages(self) -> Mapping[str, StageTime]:
        """The stages by name, in the order of a frame."""
        return {stage: getattr(self, stage) for thread in THREADS for stage in thread}

    @property
    def slowest(self) -> str:
        """The stage that holds the others back: the longest one of the busiest thread."""
        stages = self.stages
        busiest = max(THREADS, key=lambda thread: sum(stages[stage].total for stage in thread))
        return max(busiest, key=lambda stage: stages[stage].total)

    def to_dict(self) -> dict[str, Any]:
        """Give the times in seconds, as values that JSON knows, with the rate and the slowest stage beside them."""
        return {**asdict(self), "rate": self.rate, "slowest": self.slowest}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave; a missing key is a KeyError."""
        stages: dict[str, Any] = {stage: StageTime(**values[stage]) for thread in THREADS for stage in thread}
        return cls(frames=values["frames"], wall=values["wall"], **stages)


class StageClock:
    """Measures the stages while they run; each stage is one thread's."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start to measure.

        Args:
            clock: Gives the time in seconds.
        """
        self._clock = clock
        self._start = clock()
        # Four bytes a frame and stage: ten hours of video take 26 MB.
        self._spans = {stage: array("f") for thread in THREADS for stage in thread}

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def timed(self, stage: str, function: Callable[P, R]) -> Callable[P, R]:
        """Give a function that does the same and measures each call."""
        spans = self._spans[stage]

        def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            start = self._clock()
            result = function(*args, **kwargs)
            spans.append(self._clock() - start)
            return result

        return measured

    def timed_items(self, stage: str, items: Iterable[R]) -> Iterator[R]:
        """Give the same items and measure how long each takes to come."""
        following = self.timed(stage, iter(items).__next__)
        while True:
            try:
                item = following()
            except StopIteration:
                return
            yield item

    def read(self, frames: int) -> StageTimes:
        """Give the times until now of so many frames."""
        spans: dict[str, Any] = {stage: _summary(values) for stage, values in self._spans.items()}
        return StageTimes(frames=frames, wall=self.elapsed, **spans)


def _summary(spans: "array[float]") -> StageTime:
    if not spans:
        return StageTime(p50=0.0, p95=0.0, total=0.0)
    p50, p95 = np.percentile(spans, (50, 95))
    return StageTime(p50=float(p50), p95=float(p95), total=float(np.sum(spans, dtype=np.float64)))
