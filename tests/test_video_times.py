"""Where the time goes: worked out by hand with a clock of our own."""

import json
from collections.abc import Iterator

import pytest

from segdeploy.video.times import StageClock, StageTime, StageTimes


class Ticks:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def times(**totals: float) -> StageTimes:
    stages = {
        name: StageTime(p50=0.0, p95=0.0, total=totals.get(name, 0.0)) for name in ("decode", "prepare", "infer", "mask", "draw", "encode")
    }
    return StageTimes(frames=50, wall=2.0, **stages)


def test_spans_are_summed_up() -> None:
    """Calls of 1, 2, 3, 4 and 10 seconds: the median is 3, 95% lies at 4 + 0.8 * 6 = 8.8, all together 20."""
    ticks = Ticks()
    clock = StageClock(ticks)

    def infer(seconds: float) -> float:
        ticks.now += seconds
        return seconds

    measured = clock.timed("infer", infer)
    answers = [measured(seconds) for seconds in (10.0, 2.0, 1.0, 4.0, 3.0)]
    ticks.now += 5

    result = clock.read(5)
    assert answers == [10.0, 2.0, 1.0, 4.0, 3.0]
    assert result.infer == StageTime(p50=3.0, p95=pytest.approx(8.8), total=20.0)
    assert result.draw == StageTime(p50=0.0, p95=0.0, total=0.0)
    assert (result.frames, result.wall, result.rate) == (5, 25.0, 0.2)


def test_items_are_measured_while_they_come() -> None:
    """What happens between two items belongs to others."""
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
    ("totals", "slowest"),
    [
        ({"decode": 3.0, "infer": 2.0, "encode": 1.0}, "decode"),
        ({"encode": 1.5, "prepare": 0.4, "infer": 0.8, "mask": 0.2, "draw": 0.3}, "infer"),
        ({"encode": 1.8, "prepare": 0.4, "infer": 0.8, "mask": 0.2, "draw": 0.3}, "encode"),
    ],
)
def test_slowest_stage_is_in_the_busiest_thread(totals: dict[str, float], slowest: str) -> None:
    """Four stages share a thread: together they can hold back what none of them does alone."""
    assert times(**totals).slowest == slowest


def test_json_keeps_all() -> None:
    """A report is read again by others."""
    given = times(infer=1.25)

    values = json.loads(json.dumps(given.to_dict()))

    assert StageTimes.from_dict(values) == given
    assert (values["rate"], values["slowest"], values["infer"]["total"]) == (25.0, "infer", 1.25)
