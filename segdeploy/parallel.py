"""Work on many things at once, on the cores that may be used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from segdeploy.machine import cores

AHEAD = 2
"""Things for each core that may be begun before their turn: so many are in memory, however many there are."""

T = TypeVar("T")
R = TypeVar("R")


def in_threads(act: Callable[[T], R], things: Iterable[T], *, workers: int | None = None, ahead: int | None = None) -> Iterator[R]:
    """Do something with each thing, and give the results in the things' order.

    Threads are enough where the work is done in libraries that leave Python's lock alone, as decoders do.

    Args:
        act: Called in several threads at once.
        things: Taken from in the thread that takes the results.
        workers: How many threads; one a core where None.
        ahead: How many things may be begun before their turn; `AHEAD` a thread where None.
    """
    count = workers or cores()
    most = AHEAD * count if ahead is None else ahead
    pool = ThreadPoolExecutor(count, thread_name_prefix="segdeploy-worker")
    begun: deque[Future[R]] = deque()
    try:
        for thing in things:
            begun.append(pool.submit(act, thing))
            if len(begun) > most:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
