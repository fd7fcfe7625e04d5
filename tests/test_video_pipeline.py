"""Threads change when things happen, never what comes out."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from segdeploy.video.pipeline import DEPTH, run_serial, run_threaded

Run = Callable[..., None]
BOTH = pytest.mark.parametrize("run", [run_serial, run_threaded])


def always() -> bool:
    return True


def failing_after(count: int) -> Iterator[int]:
    yield from range(count)
    msg = "the source broke"
    raise ValueError(msg)


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    """Whatever happens, no thread stays behind."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@BOTH
def test_order_is_kept(run: Run) -> None:
    """Uneven stages must not overtake each other."""
    written: list[int] = []

    def work(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    run(iter(range(50)), work, write=written.append, go_on=always)

    assert written == [number * number for number in range(50)]


@BOTH
def test_nothing_gives_nothing(run: Run) -> None:
    """A source may be empty."""
    written: list[int] = []

    run(iter(()), abs, write=written.append, go_on=always)

    assert written == []


@BOTH
def test_source_that_fails_stops_all(run: Run) -> None:
    """What came before is written, and the error is the source's own."""
    written: list[int] = []

    with pytest.raises(ValueError, match="the source broke"):
        run(failing_after(7), abs, write=written.append, go_on=always)

    assert written == list(range(7))


@BOTH
def test_work_that_fails_stops_all(run: Run) -> None:
    """So it is in the middle, while the source is far ahead."""
    written: list[int] = []

    def work(item: int) -> int:
        return 1 // (7 - item)

    with pytest.raises(ZeroDivisionError):
        run(iter(range(100)), work, write=written.append, go_on=always)

    assert len(written) == 7


@BOTH
def test_writing_that_fails_stops_all(run: Run) -> None:
    """A full disk ends the work soon, not when all of the video was computed for nothing."""
    worked: list[int] = []

    def work(item: int) -> int:
        worked.append(item)
        return item

    def write(item: int) -> None:
        if item == 5:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(iter(range(1000)), work, write=write, go_on=always)

    assert len(worked) <= 5 + DEPTH + 2


def test_last_write_that_fails_is_told() -> None:
    """It happens after the last item was handed over."""

    def write(_item: int) -> None:
        time.sleep(0.05)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run_threaded(iter([1]), abs, write=write, go_on=always)


def test_error_of_the_work_counts_before_one_of_the_writing() -> None:
    """The first cause is what a user has to know."""

    def write(_item: int) -> None:
        time.sleep(0.05)
        raise OSError(28, "No space left on device")

    def work(item: int) -> int:
        return 1 // (1 - item)

    with pytest.raises(ZeroDivisionError):
        run_threaded(iter(range(3)), work, write=write, go_on=always)


@BOTH
def test_stop_keeps_what_was_done(run: Run) -> None:
    """Everything that was worked on is written."""
    written: list[int] = []
    worked: list[int] = []

    def work(item: int) -> int:
        worked.append(item)
        return item

    run(iter(range(1000)), work, write=written.append, go_on=lambda: len(worked) < 10)

    assert written == worked == list(range(10))


def test_waiting_items_are_bounded() -> None:
    """A slow sink must not let a film pile up in memory."""
    read: list[int] = []
    written: list[int] = []
    most = 0

    def source() -> Iterator[int]:
        for item in range(60):
            read.append(item)
            yield item

    def write(item: int) -> None:
        nonlocal most
        time.sleep(0.003)
        most = max(most, len(read) - len(written))
        written.append(item)

    run_threaded(source(), abs, write=write, go_on=always)

    # In each queue DEPTH wait; one is being read, one worked on, one written, and each queue's producer holds one.
    assert most <= 2 * DEPTH + 4
    assert len(written) == 60


def test_stages_run_at_the_same_time() -> None:
    """Three stages of 10 ms each on 20 items take 600 ms one after the other, and little over 200 together."""

    def source() -> Iterator[int]:
        for item in range(20):
            time.sleep(0.01)
            yield item

    def work(item: int) -> int:
        time.sleep(0.01)
        return item

    start = time.perf_counter()
    run_threaded(source(), work, write=lambda _: time.sleep(0.01), go_on=always)

    assert time.perf_counter() - start < 0.5
