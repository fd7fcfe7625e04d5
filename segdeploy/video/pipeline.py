"""From a source through the work on each item to a sink: in threads, or one item after the other."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import takewhile
from typing import TypeVar

from segdeploy.errors import SegdeployError
from segdeploy.parallel import in_threads
from segdeploy.video.ahead import ReadAhead
from segdeploy.video.behind import WriteBehind

S = TypeVar("S")
T = TypeVar("T")

DEPTH = 3
"""Items that wait between two threads: enough to even out slow ones, few enough for large pictures."""


def run_threaded(
    items: Iterable[S],
    work: Callable[[S], T],
    *,
    write: Callable[[T], None],
    go_on: Callable[[], bool],
    workers: int = 1,
    depth: int = DEPTH,
    settle: Callable[[T], T] = lambda item: item,
) -> None:
    """Read, work and write at the same time, in order.

    Whatever fails stops the rest: the items before the one that failed are written, the threads end, and the error is raised.

    Args:
        items: Source, read in a thread of its own.
        work: Called in this thread, or in several threads at once.
        write: Called in a thread of its own, in the items' order.
        go_on: Asked before each item is worked on; when it says no, what was worked on is written, and that is all.
        workers: How many items are worked on at the same time.
        depth: Items that wait between two threads. With 0 the source is read in this thread: a live one, of which only the newest
            item counts, reads in a thread of its own.
        settle: Called in this thread with each result, in the items' order; what it gives is written.
    """
    with ExitStack() as stack:
        ahead = stack.enter_context(ReadAhead(items, depth=depth)) if depth else items
        behind = stack.enter_context(WriteBehind(write, depth=max(1, depth)))
        wanted = takewhile(lambda _: go_on(), ahead)
        for result in stack.enter_context(closing(_worked_on(work, wanted, workers))):
            behind.put(settle(result))


def run_serial(
    items: Iterable[S],
    work: Callable[[S], T],
    *,
    write: Callable[[T], None],
    go_on: Callable[[], bool],
    settle: Callable[[T], T] = lambda item: item,
) -> None:
    """Read, work and write one item after the other; the results are those of `run_threaded`."""
    for item in items:
        if not go_on():
            break
        write(settle(work(item)))


def in_batches(items: Iterable[S], size: int) -> Iterator[list[S]]:
    """Give items by so many at a time, in order; before an error of the source come the items before it."""
    batch: list[S] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
    except SegdeployError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _worked_on(work: Callable[[S], T], items: Iterable[S], workers: int) -> Generator[T]:
    if workers == 1:
        yield from map(work, items)
        return
    failures: list[Exception] = []
    # One item more than threads is enough that none of them waits for this one.
    yield from in_threads(work, _until_failure(items, failures), workers=workers, ahead=workers)
    if failures:
        raise failures[0]


def _until_failure(items: Iterable[S], failures: list[Exception]) -> Iterator[S]:
    """Give items as if a source that fails had ended, so that those before are finished; the failure is kept."""
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 - it is raised after the items before it
        failures.append(error)
