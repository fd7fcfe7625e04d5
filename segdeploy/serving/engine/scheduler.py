"""Worker threads and their bounded queue: what is accepted is done, unless its client leaves."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from math import ceil
from threading import Condition, Thread
from typing import Generic, TypeVar

from segdeploy.errors import CancelledRequest, RequestError

T = TypeVar("T")

WEIGHT = 0.1
"""Weight of the newest job in the moving average of the jobs' seconds."""


class Work:
    """One job on its way through the stages: their times, its deadline, and whether it goes on.

    Attributes:
        seconds: Seconds of each stage so far, by its name.
    """

    def __init__(
        self, *, deadline: float = float("inf"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the clock of the wait in the queue.

        Args:
            deadline: Time of the clock after which the job is given up.
            clock: Returns seconds that never decrease.
        """
        self._clock = clock
        self._deadline = deadline
        self._cancelled = False
        self._created = clock()
        self.seconds: dict[str, float] = {}

    def cancel(self) -> None:
        """Let the next stage end the job."""
        self._cancelled = True

    def begin(self) -> None:
        """Note the time that the job waited for a worker."""
        self.seconds["queue"] = self._clock() - self._created

    def check(self) -> None:
        """Go on, or end the job.

        Raises:
            CancelledRequest: Its client left.
            RequestError: Its deadline has passed.
        """
        if self._cancelled:
            msg = "the client left"
            raise CancelledRequest(msg)
        if self._clock() > self._deadline:
            msg = (
                "the request was not done in time; send it again, send less, or start the server"
                " with a longer --timeout"
            )
            raise RequestError(msg, status=503, retry_after=1)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; raises what `check` raises before it."""
        self.check()
        start = self._clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - start


class Ticket(Generic[T]):
    """An accepted job.

    Attributes:
        future: Its result.
        work: Its stages.
    """

    def __init__(self, function: Callable[[Work], T], work: Work) -> None:
        """Keep a job until a worker takes it."""
        self.future: Future[T] = Future()
        self.work = work
        self._function = function

    def run(self) -> None:
        """Do the job in this thread."""
        if not self.future.set_running_or_notify_cancel():
            return
        self.work.begin()
        try:
            self.work.check()
            result = self._function(self.work)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Scheduler:
    """Worker threads that take jobs in the order of their arrival."""

    def __init__(
        self, *, workers: int, queue: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the workers.

        Args:
            workers: Jobs that are done at the same time.
            queue: Jobs that may wait.
            clock: Returns seconds that never decrease.
        """
        self._queue_size = queue
        self._clock = clock
        self._waiting: deque[Ticket[object]] = deque()
        self._changed = Condition()
        self._threads: list[Thread] = []
        self._running = 0
        self._closed = False
        self._mean = 0.0
        self.grow(workers)

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def is_closed(self) -> bool:
        """Whether no more jobs are accepted."""
        return self._closed

    @property
    def workers(self) -> int:
        """How many jobs are done at the same time."""
        return len(self._threads)

    def grow(self, workers: int) -> None:
        """Start workers until there are so many."""
        with self._changed:
            while len(self._threads) < workers:
                thread = Thread(target=self._work, name="segdeploy-server", daemon=True)
                self._threads.append(thread)
                thread.start()

    def check_room(self) -> None:
        """Refuse a request before anything of it is read.

        Raises:
            RequestError: The queue is full, or the server is stopping.
        """
        if self._closed:
            msg = "the server is stopping; send the request to another one"
            raise RequestError(msg, status=503, retry_after=5)
        idle = len(self._threads) - self._running
        if len(self._waiting) >= self._queue_size + max(0, idle):
            msg = (
                f"{len(self._waiting)} requests are waiting, which is all that may; send the"
                " request again later"
            )
            raise RequestError(msg, status=503, retry_after=self._retry_after())

    def submit(
        self, function: Callable[[Work], T], *, seconds: float = float("inf"), waits: bool = False
    ) -> Ticket[T]:
        """Accept a job.

        Args:
            function: Does it, in a worker.
            seconds: After so many seconds it is given up.
            waits: Whether it is accepted also where the queue is full: for callers that submit one
                job after the other.

        Raises:
            RequestError: The queue is full, or the server is stopping.
        """
        work = Work(deadline=self._clock() + seconds, clock=self._clock)
        ticket = Ticket(function, work)
        with self._changed:
            if not waits:
                self.check_room()
            self._waiting.append(ticket)  # type: ignore[arg-type]
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket[T]) -> None:
        """Cancel a job: one that waits leaves the queue, one that runs ends at its next stage."""
        ticket.work.cancel()
        with self._changed:
            if ticket.future.cancel() and ticket in self._waiting:
                self._waiting.remove(ticket)  # type: ignore[arg-type]
            self._changed.notify_all()

    def close(self) -> None:
        """Accept no more jobs."""
        self._closed = True

    def drain(self, seconds: float) -> bool:
        """Wait until all accepted jobs are done, and return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._running, seconds)

    def _retry_after(self) -> int:
        return max(1, ceil(self._mean * len(self._waiting) / len(self._threads)))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                ticket = self._waiting.popleft()
                self._running += 1
            start = self._clock()
            ticket.run()
            # Otherwise an idle worker would keep the last image and mask.
            del ticket
            seconds = self._clock() - start
            with self._changed:
                self._running -= 1
                self._mean += (seconds - self._mean) * WEIGHT
                self._changed.notify_all()
