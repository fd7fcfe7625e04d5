"""Thread pool that keeps order, bounded queue, prefetch and background writer.

Set-up of reader processes.
"""

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Thread
from types import TracebackType
from typing import Generic, Self, TypeVar

import cv2

from segdeploy.system.machine import cores

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of the two bounds in glibc's malloc.h."""

LARGEST = 32 << 20
"""Bytes of the largest block that is kept: an image of 3840x2160 pixels fits, and every glibc of
64 bits takes this bound."""

KEPT = 256 << 20
"""Bytes of freed memory at its end that the heap keeps, which is all that this can cost a
process."""


def keep_freed_memory() -> bool:
    """Let this process keep freed blocks of up to 32 MiB, 256 MiB together, and tell whether its C library can.

    glibc gives large blocks back to the system when they are freed. The system clears every page
    before it gives it out again, and the faults that ask for them were measured to cost an eighth
    of the time in which a sample of 360x480 is read and augmented. Other C libraries are left as
    they are.
    """
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT) and mallopt(M_MMAP_THRESHOLD, LARGEST))


AHEAD = 2
"""Things for each core that may be begun before their turn: so many are in memory, however many
there are."""

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(
    act: Callable[[T], R],
    things: Iterable[T],
    *,
    workers: int | None = None,
    ahead: int | None = None,
) -> Iterator[R]:
    """Do something with each thing, and give the results in the things' order.

    Threads are enough where the work is done in libraries that leave Python's lock alone, as
    decoders do.

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


class BoundedQueue(Generic[T]):
    """Items in order; whoever puts waits for room, whoever takes waits for an item."""

    def __init__(self, depth: int) -> None:
        """Start empty and open.

        Args:
            depth: How many items may wait, so that memory stays bounded.
        """
        self._items: deque[T] = deque()
        self._depth = depth
        self._closed = False
        self._changed = Condition()

    def put(self, item: T) -> bool:
        """Hand an item over, and tell whether the channel was still open to take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()
            return not self._closed

    def close(self) -> None:
        """Take no more items; those that wait can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drop(self) -> None:
        """Close, and forget the items that wait."""
        with self._changed:
            self._items.clear()
            self.close()

    def __iter__(self) -> Iterator[T]:
        """Take items until the channel is closed and empty."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._items)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


class Prefetcher(Generic[T]):
    """The items of an iterable, in order, taken from it by a thread.

    A context manager, whose end stops the thread.
    """

    def __init__(self, items: Iterable[T], *, depth: int) -> None:
        """Prepare the thread; it starts with the block.

        Args:
            items: What is read, once, and only by the thread.
            depth: How many items may wait.
        """
        self._items = items
        self._channel: BoundedQueue[T] = BoundedQueue(depth)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._read, name="segdeploy-read-ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[T]:
        """Return the items; what the iterable raised is raised after the last item before it."""
        yield from self._channel
        if self._error is not None:
            raise self._error

    def __exit__(self, *_: object) -> None:
        self._channel.drop()
        self._thread.join()

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._channel.put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are taken
            self._error = error
        finally:
            self._channel.close()


class BackgroundWriter(Generic[T]):
    """Hands items, in order, to a function in a thread.

    A context manager, at whose end all of them are written.
    """

    def __init__(self, write: Callable[[T], None], *, depth: int) -> None:
        """Prepare the thread; it starts with the block.

        Args:
            write: Called with one item after the other, only by the thread.
            depth: How many items may wait.
        """
        self._write = write
        self._channel: BoundedQueue[T] = BoundedQueue(depth)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="segdeploy-write-behind", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def put(self, item: T) -> None:
        """Hand over an item; raises what the function raised on an earlier one."""
        if not self._channel.put(item):
            self._thread.join()
            assert self._error is not None
            raise self._error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until all items are written, also after an error in the block, which then is the one that counts."""
        self._channel.close()
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for item in self._channel:
                self._write(item)
        except BaseException as error:  # noqa: BLE001 - it is raised where the items come from
            self._error = error
        finally:
            self._channel.drop()


def set_up_reader() -> None:
    """Keep OpenCV to one thread, since those that read share the cores, and freed memory for the next image."""
    cv2.setNumThreads(1)
    keep_freed_memory()
