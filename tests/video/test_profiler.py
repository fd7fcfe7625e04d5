"""Stage times, computed by hand with a fake clock."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from segdeploy.video.profiler import StageClock, StageTime, StageTimes


class Ticks:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def times(**totals: float) -> StageTimes:
    stages = {
        name: StageTime(p50=0.0, p95=0.0, total=totals.get(name, 0.0))
        for name in ("decode", "prepare", "infer", "mask", "draw", "encode")
    }
    return StageTimes(frames=50, wall=2.0, **stages)


def test_times_are_summarized() -> None:
    """Calls of 1, 2, 3, 4 and 10 seconds.

    The median is 3, 95% lies at 4 + 0.8 * 6 = 8.8, all together 20.
    """
    ticks = Ticks()
    clock = StageClock(ticks)

    def infer(seconds: float) -> float:
        ticks.now += seconds
        return seconds

    measured = clock.timed("infer", infer)
    results = [measured(seconds) for seconds in (10.0, 2.0, 1.0, 4.0, 3.0)]
    ticks.now += 5

    result = clock.read(5)
    assert results == [10.0, 2.0, 1.0, 4.0, 3.0]
    assert result.infer == StageTime(p50=3.0, p95=pytest.approx(8.8), total=20.0)
    assert result.draw == StageTime(p50=0.0, p95=0.0, total=0.0)
    assert (result.frames, result.wall, result.rate) == (5, 25.0, 0.2)


def test_items_are_measured_while_they_are_read() -> None:
    """Time between two items is not counted."""
    ticks = Ticks()
    clock = StageClock(ticks)

    def source() -> Iterator[int]:
        for item in range(3):
            ticks.now += 2
            yield item

    items = []
    for item in clock.timed_items("decode", source()):
        ticks.now += 100
        items.append(item)

    assert items == [0, 1, 2]
    assert clock.read(3).decode == StageTime(p50=2.0, p95=2.0, total=6.0)


def test_rate_counts_everything() -> None:
    """50 frames in 2 seconds."""
    assert times().rate == 25.0


@pytest.mark.parametrize(
    ("totals", "workers", "slowest"),
    [
        ({"decode": 3.0, "infer": 2.0, "encode": 1.0}, 1, "decode"),
        ({"encode": 1.5, "prepare": 0.4, "infer": 0.8, "mask": 0.2, "draw": 0.3}, 1, "infer"),
        ({"encode": 1.8, "prepare": 0.4, "infer": 0.8, "mask": 0.2, "draw": 0.3}, 1, "encode"),
        ({"encode": 1.5, "prepare": 0.4, "infer": 1.6, "mask": 0.2, "draw": 0.3}, 2, "encode"),
        ({"encode": 1.5, "prepare": 0.4, "infer": 1.4, "mask": 0.2, "draw": 0.3}, 0, "encode"),
    ],
)
def test_slowest_stage_is_in_the_busiest_thread(
    totals: dict[str, float], workers: int, slowest: str
) -> None:
    """Four stages share a thread, or several.

    Together they can be the bottleneck although none of them is alone.
    """
    assert replace(times(**totals), workers=workers).slowest == slowest


@pytest.mark.parametrize(
    ("busy", "workers", "verdict"),
    [
        (0.8, 1, "encode is the bottleneck: its thread worked 75% of the time"),
        (0.8, 0, "the stages run one after the other, and infer takes longest"),
        (3.8, 2, "the 2 cores are full, and infer takes most of the time"),
    ],
)
def test_bottleneck_is_named(busy: float, workers: int, verdict: str) -> None:
    """2 seconds on 2 cores: 3.8 seconds of their time are 95%, and then a thread that waits for a
    core looks busy.
    """
    given = replace(times(encode=1.5, infer=1.6), busy=busy, cores=2, workers=workers)
    if workers == 1:
        given = replace(given, infer=replace(given.infer, total=0.1))

    assert given.bottleneck == verdict


def test_threads_share_the_middle() -> None:
    """Two threads that worked 1.6 seconds each of 2."""
    given = replace(times(infer=3.2, encode=0.5), busy=1.0, cores=4, workers=2)

    assert given.bottleneck == "infer is the bottleneck: its threads worked 80% of the time"


def test_batch_is_shared_among_its_frames() -> None:
    """A call of 6 seconds for 3 frames is 2 a frame, and 6 in all."""
    ticks = Ticks()
    clock = StageClock(ticks)

    def infer(batch: list[int]) -> int:
        ticks.now += 6
        return len(batch)

    assert clock.timed_batch("infer", infer)([1, 2, 3]) == 3
    assert clock.read(3).infer == StageTime(p50=2.0, p95=2.0, total=6.0)


def test_cpu_time_is_that_of_the_process() -> None:
    """12 seconds of wall time and 9 of CPU time."""
    ticks, processor = Ticks(), Ticks()
    clock = StageClock(ticks, cpu_clock=processor)
    ticks.now += 12
    processor.now += 9

    result = clock.read(1, workers=2)

    assert (result.wall, result.busy, result.workers) == (12.0, 9.0, 2)


def test_json_round_trip() -> None:
    """Reports are read back by other commands."""
    given = times(infer=1.25)

    values = json.loads(json.dumps(given.to_dict()))

    assert StageTimes.from_dict(values) == given
    assert (values["rate"], values["slowest"], values["infer"]["total"]) == (25.0, "infer", 1.25)
