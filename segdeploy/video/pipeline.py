"""From a source through the work on each item to a sink: in three threads, or one item after the other."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from segdeploy.video.ahead import ReadAhead
from segdeploy.video.behind import WriteBehind

S = TypeVar("S")
T = TypeVar("T")

DEPTH = 3
"""Items that wait between two threads: enough to even out slow ones, few enough for large pictures."""


def run_threaded(items: Iterable[S], work: Callable[[S], T], *, write: Callable[[T], None], go_on: Callable[[], bool]) -> int:
    """Read, work and write at the same time, in order.

    Whatever fails stops the rest: items that were worked on before are written, the threads end, and the error is raised.

    Args:
        items: Source, read in a thread of its own.
        work: Called in this thread.
        write: Called in a thread of its own.
        go_on: Asked before each item is worked on; when it says no, what was worked on is written, and that is all.

    Returns:
        How many items were written.
    """
    count = 0
    with ReadAhead(items, depth=DEPTH) as ahead, WriteBehind(write, depth=DEPTH) as behind:
        for item in ahead:
            if not go_on():
                break
            behind.put(work(item))
            count += 1
    return count


def run_serial(items: Iterable[S], work: Callable[[S], T], *, write: Callable[[T], None], go_on: Callable[[], bool]) -> int:
    """Read, work and write one item after the other; the results are those of `run_threaded`."""
    count = 0
    for item in items:
        if not go_on():
            break
        write(work(item))
        count += 1
    return count
