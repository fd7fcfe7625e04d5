"""Threads: a map that keeps order, a bounded queue, prefetching, writing, and a pipeline of these.

How other processes are started, and the set-up of those that read images, stand here too.
"""

import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import takewhile
from threading import Condition, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from segdeploy.system.machine import cores

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

AHEAD = 2
"""Items per thread that may be started before their turn, so that memory stays bounded."""

DEPTH = 3
"""Items that wait between two threads: enough to even out slow ones, few enough for large
images."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of the two parameters in glibc's malloc.h."""

LARGEST_BLOCK = 32 << 20
"""Bytes of the largest block that the heap keeps: an image of 3840x2160 pixels fits, and every
64-bit glibc accepts this bound."""

KEPT_MEMORY = 256 << 20
"""Bytes of freed memory that the heap keeps at its end, which is all that this can cost a
process."""

PYTHON = (sys.executable, "-P")
"""The beginning of a command that starts this Python: with `-c` or `-m` alone, a file cv2.py in the
current folder would be imported in place of OpenCV."""

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int | None = None,
    ahead: int | None = None,
) -> Iterator[R]:
    """Apply a function to each item in threads, and yield the results in the items' order.

    Threads are enough where the work is done in libraries that release the GIL, such as decoders.

    Args:
        function: Called in several threads at once.
        items: Iterated in the thread that takes the results.
        workers: How many threads; one per core where None.
        ahead: How many items may be started before their turn; `AHEAD` per thread where None.
    """
    count = workers or cores()
    most = AHEAD * count if ahead is None else ahead
    pool = ThreadPoolExecutor(count, thread_name_prefix="segdeploy-worker")
    started: deque[Future[R]] = deque()
    try:
        for item in items:
            started.append(pool.submit(function, item))
            if len(started) > most:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class BoundedQueue(Generic[T]):
    """Items in order between two threads: `put` waits for room, iteration waits for an item."""

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
        """Add an item, and return whether the queue was still open to take it."""
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
        """Close, and discard the items that wait."""
        with self._changed:
            self._items.clear()
            self.close()

    def __iter__(self) -> Iterator[T]:
        """Take items until the queue is closed and empty."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._items)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


class Prefetcher(Generic[T]):
    """The items of an iterable, in order, read in advance by a thread.

    A context manager, whose end stops the thread.
    """

    def __init__(self, items: Iterable[T], *, depth: int) -> None:
        """Prepare the thread; it starts with the block.

        Args:
            items: What is read, once, and by the thread only.
            depth: How many items may wait.
        """
        self._items = items
        self._queue: BoundedQueue[T] = BoundedQueue(depth)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._read, name="segdeploy-prefetcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[T]:
        """Yield the items; an error of the iterable is raised after the last item before it."""
        yield from self._queue
        if self._error is not None:
            raise self._error

    def __exit__(self, *_: object) -> None:
        self._queue.drop()
        self._thread.join()

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._queue.put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are taken
            self._error = error
        finally:
            self._queue.close()


class BackgroundWriter(Generic[T]):
    """Passes items, in order, to a function in a thread.

    A context manager, at whose end all of them are written.
    """

    def __init__(self, write: Callable[[T], None], *, depth: int) -> None:
        """Prepare the thread; it starts with the block.

        Args:
            write: Called with one item after the other, by the thread only.
            depth: How many items may wait.
        """
        self._write = write
        self._queue: BoundedQueue[T] = BoundedQueue(depth)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="segdeploy-background-writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def put(self, item: T) -> None:
        """Add an item; raises what the function raised on an earlier one."""
        if not self._queue.put(item):
            self._thread.join()
            assert self._error is not None
            raise self._error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until all items are written; an error of the block takes precedence."""
        self._queue.close()
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for item in self._queue:
                self._write(item)
        except BaseException as error:  # noqa: BLE001 - it is raised where the items come from
            self._error = error
        finally:
            self._queue.drop()


def run_threaded(
    items: Iterable[T],
    work: Callable[[T], R],
    *,
    write: Callable[[R], None],
    should_stop: Callable[[], bool],
    workers: int = 1,
    depth: int = DEPTH,
    finalize: Callable[[R], R] = lambda item: item,
) -> None:
    """Read, work and write at the same time, in order.

    A failure stops all threads: the items before the one that failed are written, the threads
    end, and the error is raised.

    Args:
        items: Source, read in a thread of its own.
        work: Called in this thread, or in several threads at once.
        write: Called in a thread of its own, in the items' order.
        should_stop: Called before each item; once it returns True, the items in progress are
            written and the run ends.
        workers: How many items are processed at the same time.
        depth: Items that wait between two threads. With 0 the source is read in this thread: a live
            one, of which only the newest item counts, reads in a thread of its own.
        finalize: Called in this thread with each result, in the items' order; what it returns is
            written.
    """
    with ExitStack() as stack:
        ahead = stack.enter_context(Prefetcher(items, depth=depth)) if depth else items
        behind = stack.enter_context(BackgroundWriter(write, depth=max(1, depth)))
        until_stop = takewhile(lambda _: not should_stop(), ahead)
        for result in stack.enter_context(closing(_map_until_failure(work, until_stop, workers))):
            behind.put(finalize(result))


def run_serial(
    items: Iterable[T],
    work: Callable[[T], R],
    *,
    write: Callable[[R], None],
    should_stop: Callable[[], bool],
    finalize: Callable[[R], R] = lambda item: item,
) -> None:
    """Read, work and write one item after the other; the results are those of `run_threaded`."""
    for item in items:
        if should_stop():
            break
        write(finalize(work(item)))


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Return items in lists of `size`, in order; the last one may be shorter.

    When the source fails, the items before the error are returned first.
    """
    batch: list[T] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _map_until_failure(work: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R]:
    if workers == 1:
        yield from map(work, items)
        return
    failures: list[Exception] = []
    # One item more than threads is enough that none of them waits for this one.
    yield from map_in_order(work, _until_failure(items, failures), workers=workers, ahead=workers)
    if failures:
        raise failures[0]


def _until_failure(items: Iterable[T], failures: list[Exception]) -> Iterator[T]:
    """Return items, and end where the source fails, so that those before are finished.

    The failure is appended to `failures`.
    """
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 - it is raised after the items before it
        failures.append(error)


def process_context(*methods: str) -> "BaseContext":
    """Return the context in which multiprocessing starts processes, safe from the current folder.

    multiprocessing starts its processes by `python -c`, which looks for every module in the current
    folder first; a process has the paths of this one only once it has imported some.

    Args:
        methods: Ways to start a process, of which the first that the system has is taken.
    """
    # Only training starts processes in this way.
    import multiprocessing

    os.environ["PYTHONSAFEPATH"] = "1"
    known = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context(next(method for method in methods if method in known))


def set_up_reader() -> None:
    """Prepare a process that reads images beside others.

    OpenCV gets one thread, since the processes share the cores, and freed memory is kept for the
    next image.
    """
    # Only these processes need it, and few of those that use threads.
    import cv2

    cv2.setNumThreads(1)
    keep_freed_memory()


def keep_freed_memory() -> bool:
    """Let this process keep freed blocks of up to 32 MiB, 256 MiB together.

    glibc gives large blocks back to the system when they are freed. The system clears every page
    before it gives it out again, and the page faults were measured to cost an eighth of the time in
    which a sample of 360x480 is read and augmented. Other C libraries are left as they are.

    Returns:
        Whether the C library can.
    """
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY) and mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK))
