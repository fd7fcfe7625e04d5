"""What the routes share, and how a route waits for a job whose client may leave."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import TypeVar

from starlette.requests import Request

from segdeploy.errors import CancelledRequest, RequestError
from segdeploy.serving.engine.access import Access
from segdeploy.serving.engine.limits import Limits, Memory
from segdeploy.serving.engine.metrics import Metrics
from segdeploy.serving.engine.models import ModelStore
from segdeploy.serving.engine.scheduler import Scheduler, Ticket, Work
from segdeploy.serving.web.front import stages_of

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Service:
    """The parts of a running server.

    Attributes:
        limits: Bounds of requests.
        memory: Bytes that requests hold.
        scheduler: Does the work.
        models: What it is done with.
        access: Decides who is answered.
        metrics: Counts.
        videos: Places for videos in requests.
    """

    limits: Limits
    memory: Memory
    scheduler: Scheduler
    models: ModelStore
    access: Access
    metrics: Metrics
    videos: BoundedSemaphore

    def submit(self, job: Callable[[Work], T]) -> Ticket[T]:
        """Accept a job.

        Raises:
            RequestError: The queue is full.
        """
        return self.scheduler.submit(job, seconds=self.limits.seconds)

    async def wait(self, ticket: Ticket[T]) -> T:
        """Return the result of a job, which is given up when this task is cancelled."""
        done = asyncio.wrap_future(ticket.future)
        try:
            return await done
        except asyncio.CancelledError:
            self.scheduler.cancel(ticket)
            raise
        finally:
            self.metrics.count_stages(ticket.work.seconds)

    async def do(self, job: Callable[[Work], T], request: Request) -> T:
        """Do a job for a request whose body is read; it is given up when the client leaves.

        Raises:
            RequestError: The queue is full.
            CancelledRequest: The client left.
        """
        ticket = self.submit(job)
        done = asyncio.ensure_future(self.wait(ticket))
        left = asyncio.ensure_future(_wait_until_left(request))
        try:
            await asyncio.wait({done, left}, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                msg = "the client left"
                raise CancelledRequest(msg)
            return done.result()
        finally:
            left.cancel()
            done.cancel()
            stages_of(request.scope).update(ticket.work.seconds)


async def _wait_until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def check_query(request: Request, known: Collection[str]) -> None:
    """Refuse parameters that have no effect.

    Raises:
        RequestError: One is unknown.
    """
    for name in request.query_params:
        if name not in known:
            names = ", ".join(known) or "none"
            msg = f"the parameter {name[:64]!r} is unknown; known are: {names}"
            raise RequestError(msg, status=400)
