"""Threads change the order of work, never the results."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from segdeploy.errors import DataError
from segdeploy.system.concurrency import DEPTH, in_batches, run_serial, run_threaded

Run = Callable[..., None]
WORKERS = 4
run_parallel = partial(run_threaded, workers=WORKERS)
EACH = pytest.mark.parametrize(
    "run", [run_serial, run_threaded, run_parallel], ids=["serial", "threaded", "parallel"]
)


def never() -> bool:
    return False


def failing_after(count: int) -> Iterator[int]:
    yield from range(count)
    msg = "the source broke"
    raise ValueError(msg)


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    """Check that no thread is left running."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@EACH
def test_order_is_kept(run: Run) -> None:
    """Uneven stages must not overtake each other."""
    written: list[int] = []

    def work(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    run(iter(range(50)), work, write=written.append, should_stop=never)

    assert written == [number * number for number in range(50)]


@EACH
def test_empty_source(run: Run) -> None:
    """A source may be empty."""
    written: list[int] = []

    run(iter(()), abs, write=written.append, should_stop=never)

    assert written == []


@EACH
def test_source_that_fails_stops_all(run: Run) -> None:
    """Earlier items are written, and the error is that of the source."""
    written: list[int] = []

    with pytest.raises(ValueError, match="the source broke"):
        run(failing_after(7), abs, write=written.append, should_stop=never)

    assert written == list(range(7))


@EACH
def test_work_that_fails_stops_all(run: Run) -> None:
    """Also in the middle, while the source is far ahead."""
    written: list[int] = []

    def work(item: int) -> int:
        return 1 // (7 - item)

    with pytest.raises(ZeroDivisionError):
        run(iter(range(100)), work, write=written.append, should_stop=never)

    assert len(written) == 7


@EACH
def test_writing_that_fails_stops_all(run: Run) -> None:
    """A full disk ends the work soon, not after all of the video was computed."""
    worked: list[int] = []

    def work(item: int) -> int:
        worked.append(item)
        return item

    def write(item: int) -> None:
        if item == 5:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(iter(range(1000)), work, write=write, should_stop=never)

    assert len(worked) <= 5 + DEPTH + 2 + 2 * WORKERS


def test_failure_of_the_last_write_is_raised() -> None:
    """It happens after the last item was queued."""

    def write(_item: int) -> None:
        time.sleep(0.05)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run_threaded(iter([1]), abs, write=write, should_stop=never)


def test_error_of_work_precedes_one_of_writing() -> None:
    """The first cause is the one to report."""

    def write(_item: int) -> None:
        time.sleep(0.05)
        raise OSError(28, "No space left on device")

    def work(item: int) -> int:
        return 1 // (1 - item)

    with pytest.raises(ZeroDivisionError):
        run_threaded(iter(range(3)), work, write=write, should_stop=never)


@EACH
def test_stop_keeps_what_was_done(run: Run) -> None:
    """All items that were begun are written."""
    written: list[int] = []
    asked = iter(range(1000))

    run(iter(range(1000)), abs, write=written.append, should_stop=lambda: next(asked) >= 10)

    assert written == list(range(10))


@pytest.mark.parametrize("workers", [1, WORKERS])
def test_waiting_items_are_bounded(workers: int) -> None:
    """A slow sink must not fill the memory."""
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

    run_threaded(source(), abs, write=write, should_stop=never, workers=workers)

    # In each queue DEPTH wait; one is being read, one written, the producer of each queue holds
    # one, and `workers` are begun and one more.
    assert most <= 2 * DEPTH + 4 + workers
    assert len(written) == 60


def test_workers_work_at_the_same_time() -> None:
    """Each waits for all the others to be at work."""
    barrier = threading.Barrier(WORKERS, timeout=5)
    written: list[int] = []

    def work(item: int) -> int:
        barrier.wait()
        return item

    run_parallel(iter(range(3 * WORKERS)), work, write=written.append, should_stop=never)

    assert written == list(range(3 * WORKERS))


def test_batches_keep_order_and_the_rest() -> None:
    """Seven by threes."""
    assert list(in_batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_batches([], 3)) == []


def test_batch_before_an_error_is_not_lost() -> None:
    """Items that were read before a truncated source fails are still processed."""

    def source() -> Iterator[int]:
        yield from range(5)
        msg = "cut off"
        raise DataError(msg)

    batches = in_batches(source(), 3)

    assert [next(batches), next(batches)] == [[0, 1, 2], [3, 4]]
    with pytest.raises(DataError, match="cut off"):
        next(batches)


def test_stages_run_at_the_same_time() -> None:
    """While one item is read, another is processed and a third is written."""
    busy: list[int] = []
    most = 0

    def take(item: int) -> int:
        nonlocal most
        busy.append(item)
        time.sleep(0.01)
        most = max(most, len(busy))
        busy.remove(item)
        return item

    run_threaded(map(take, range(20)), take, write=take, should_stop=never)

    assert most == 3
