"""The server put together from its parts."""

from collections.abc import Sequence
from threading import BoundedSemaphore

import cv2
from starlette.routing import BaseRoute, Route, Router

from segdeploy.serving.engine.access import Access
from segdeploy.serving.engine.limits import Limits, Memory
from segdeploy.serving.engine.metrics import Metrics
from segdeploy.serving.engine.models import ModelStore
from segdeploy.serving.engine.scheduler import Scheduler
from segdeploy.serving.protocol.rest import ProtocolRoutes
from segdeploy.serving.web.front import Front, Log
from segdeploy.serving.web.operations import Operations
from segdeploy.serving.web.segment_route import SegmentRoute
from segdeploy.serving.web.service import Service
from segdeploy.system.machine import cores


def build_service(
    models: ModelStore, *, metrics: Metrics, limits: Limits, access: Access
) -> Service:
    """Return the parts of a server whose models are loaded.

    Args:
        models: The models.
        metrics: Counts, and is told what it can ask the parts for.
        limits: Bounds of requests.
        access: Decides who is answered.
    """
    loaded = models.loaded.values()
    workers = max([cores(), *(model.execution.workers for model in loaded)])
    # The workers share the cores.
    cv2.setNumThreads(1)
    scheduler = Scheduler(workers=workers, queue=limits.queue)
    memory = Memory(limits.held)
    metrics.watch("queue_length", "Jobs that wait for a worker.", lambda: scheduler.waiting)
    metrics.watch("held_bytes", "Bytes of the requests under way.", lambda: memory.bytes)
    return Service(
        limits=limits,
        memory=memory,
        scheduler=scheduler,
        models=models,
        access=access,
        metrics=metrics,
        videos=BoundedSemaphore(limits.videos),
    )


def build_front(
    service: Service, *, log: Log | None = None, more: Sequence[BaseRoute] = ()
) -> Front:
    """Return the application of a server.

    Args:
        service: Its parts.
        log: Takes a record of each request; None for no log.
        more: Further routes.
    """
    routes: list[BaseRoute] = [
        Route("/segment", SegmentRoute(service).answer, methods=["POST"]),
        *Operations(service).routes(),
        *ProtocolRoutes(service).routes(),
        *more,
    ]
    router = Router(routes, redirect_slashes=False)
    return Front(router, access=service.access, metrics=service.metrics, log=log)
