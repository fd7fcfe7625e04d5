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


def in_threads(act: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    """Do something with each thing, and give the results in the things' order.

    Threads are enough where the work is done in libraries that leave Python's lock alone, as decoders do.
    """
    pool = ThreadPoolExecutor(cores())
    begun: deque[Future[R]] = deque()
    try:
        for thing in things:
            begun.append(pool.submit(act, thing))
            if len(begun) > AHEAD * cores():
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
