"""Times increase, whatever the clock of a stream does."""

import pytest

from segdeploy.video.timeline import Timeline


def place(times: list[int | None], *, longest: int | None = None) -> tuple[list[int], int]:
    """Return where times are placed, 10 ticks apart, and how often the clock began anew."""
    line = Timeline(start=5, step=10, longest=longest)
    return [line.place(time) for time in times], line.restarts


@pytest.mark.parametrize(
    ("times", "placed", "restarts"),
    [
        ([0, 10, 20], [0, 10, 20], 0),
        ([7, 8, 500, 501], [7, 8, 500, 501], 0),  # a pause
        ([None, None, None], [5, 15, 25], 0),  # a stream without times begins with its file
        ([0, 10, None, 30], [0, 10, 20, 30], 0),
        ([0, 10, 20, 0, 10, 20], [0, 10, 20, 30, 40, 50], 1),  # two parts of one clock
        ([0, 10, 0, 10, 0, 10], [0, 10, 20, 30, 40, 50], 2),
        ([0, 10, 10, 30], [0, 10, 20, 30], 0),  # a time that stands still
        ([0, 10, 3, 30, 40], [0, 10, 20, 30, 40], 0),  # one wrong time
    ],
)
def test_times_are_placed(times: list[int | None], placed: list[int], restarts: int) -> None:
    """A pause is kept, one wrong time is mended, and a clock that begins anew goes on."""
    assert place(times) == (placed, restarts)


def test_clock_of_a_broadcast_that_jumps_begins_anew() -> None:
    """Two recordings joined by their bytes: no film has a pause of hours."""
    assert place([0, 10, 9000, 9010], longest=1000) == ([0, 10, 20, 30], 1)
    assert place([0, 10, 9000, 9010]) == ([0, 10, 9000, 9010], 0)


def test_duration_of_a_frame_places_the_next_without_a_time() -> None:
    """The last frame before a clock begins anew may be a long one."""
    line = Timeline(start=0, step=10, longest=None)

    assert [line.place(0, duration=30), line.place(None), line.place(None)] == [0, 30, 40]
