"""The program: loads models, puts the server together, and runs it until it is told to stop."""

import asyncio
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from PIL import Image as PillowImage

from segdeploy.serving.application import build_front, build_service
from segdeploy.serving.cameras.camera import Camera, CameraSettings
from segdeploy.serving.cameras.live_views import LiveViews
from segdeploy.serving.engine.access import Access
from segdeploy.serving.engine.limits import Limits
from segdeploy.serving.engine.metrics import Metrics
from segdeploy.serving.engine.models import LoadSettings, ModelStore
from segdeploy.serving.web.browser_page import BrowserPages
from segdeploy.serving.web.server import Address, Companion, http_server, listen, serve
from segdeploy.serving.web.service import Service
from segdeploy.system.signals import stoppable
from segdeploy.video.alerts import AlertAction, parse_alerts
from segdeploy.video.zones import Zone

STOP_SECONDS = 5.0
"""Seconds in which a camera's thread ends; one that hangs in its driver is left behind."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server is started with.

    Attributes:
        models: Files by the names of their models, the default first.
        folder: Folder of which clients may load further models; None for none.
        load: How models are loaded.
        limits: Bounds of requests.
        address: Where HTTP is served.
        grpc_port: Port of gRPC; None for no gRPC.
        keys: API keys; none where everybody may use the server.
        hosts: Further names under which a server of this machine alone may be asked.
        access_log: Whether each request is logged.
        cameras: Sources by the names of cameras.
        zones: Zones of the cameras.
        alerts: Texts of alerts.
        action: Address or command that is told of alerts; "" for none.
        browser: Whether pages are offered that run the models on the visitor's device.
    """

    models: Mapping[str, Path]
    folder: Path | None
    load: LoadSettings
    limits: Limits
    address: Address
    grpc_port: int | None
    keys: Sequence[str]
    hosts: Sequence[str]
    access_log: bool
    cameras: Mapping[str, str] = field(default_factory=dict)
    zones: Sequence[Zone] = ()
    alerts: Sequence[str] = ()
    action: str = ""
    browser: bool = True


def run(settings: Settings, *, note: Callable[[str], None]) -> None:
    """Serve until a signal comes, and until all that was accepted is done.

    Args:
        settings: What the server is started with.
        note: Takes what the user is told.

    Raises:
        SegdeployError: A model cannot be loaded or verified, or the address cannot be used.
    """
    # The size of every image is checked; Pillow's own warning says nothing more.
    warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
    metrics = Metrics()
    load = replace(settings.load, on_batch=metrics.count_batch)
    models = ModelStore(settings.models, settings=load, folder=settings.folder)
    with ExitStack() as stack:
        listener = stack.enter_context(listen(settings.address))
        stop = stack.enter_context(stoppable())
        for name in settings.models:
            model = models.load(name)
            proof = "verified" if model.is_verified else "a checkpoint, which nothing can verify"
            note(f"{name}: {model.backend.device}, {proof}, {model.execution}")
        access = Access(settings.keys, host=settings.address.host, names=settings.hosts)
        service = build_service(models, metrics=metrics, limits=settings.limits, access=access)
        cameras = stack.enter_context(make_cameras(settings, service, note))
        more = LiveViews(cameras).routes()
        if settings.browser:
            more += BrowserPages(service).routes()
        log = _json_lines(note) if settings.access_log else None
        front = build_front(service, log=log, more=more)
        address = replace(settings.address, port=listener.getsockname()[1])
        server = http_server(front, front, address=address, limits=settings.limits)
        companions = [] if settings.grpc_port is None else [grpc_companion(service, settings, note)]
        companions.append(cameras_companion(cameras, metrics))
        companions.append(Companion(start=partial(_tell, note, address, access), stop=_nothing))
        asyncio.run(serve(server, listener, service, stop=stop, companions=companions, note=note))
    note("stopped; every accepted request was answered")


def _json_lines(note: Callable[[str], None]) -> Callable[[Mapping[str, object]], None]:
    """Return what writes a record as a line of JSON, which escapes every control character."""
    return lambda record: note(json.dumps(record))


async def _tell(note: Callable[[str], None], address: Address, access: Access) -> None:
    host = f"[{address.host}]" if ":" in address.host else address.host
    note(f"serving on {address.scheme}://{host}:{address.port}")
    if access.is_open and not access.is_local:
        note("whoever reaches this address may use it; --api-key-file asks for keys")


async def _nothing() -> None:
    pass


def grpc_companion(service: Service, settings: Settings, note: Callable[[str], None]) -> Companion:
    """Return the gRPC server, to be run beside the HTTP server."""
    # Its messages are registered in the process, where those of another client may be already.
    from segdeploy.serving.protocol.grpc_service import GrpcServer

    assert settings.grpc_port is not None, "without a port there is no gRPC"
    server = GrpcServer(service, replace(settings.address, port=settings.grpc_port))

    async def start() -> None:
        await server.start()
        note(f"gRPC on {settings.address.host}:{server.port}")

    return Companion(start=start, stop=server.stop)


@contextmanager
def make_cameras(
    settings: Settings, service: Service, note: Callable[[str], None]
) -> Iterator[Mapping[str, Camera]]:
    """Yield the cameras by their names; after the block, alerts that wait are told.

    Raises:
        ConfigError: An alert has another form, or names something unknown.
    """
    alerts = parse_alerts(
        settings.alerts,
        zones=[zone.name for zone in settings.zones],
        classes=[entry.name for entry in service.models.get().card.classes],
    )
    with ExitStack() as stack:
        action = None
        if settings.action:
            action = stack.enter_context(AlertAction(settings.action, note=note))
        cameras = CameraSettings(
            sources=dict(settings.cameras), zones=settings.zones, alerts=alerts, action=action
        )
        yield {name: Camera(name, cameras, service, note=note) for name in settings.cameras}


def cameras_companion(cameras: Mapping[str, Camera], metrics: Metrics) -> Companion:
    """Return the cameras, to be run beside the HTTP server."""

    async def start() -> None:
        for name, camera in cameras.items():
            metrics.camera_age.labels(name).set_function(partial(getattr, camera, "age"))
            camera.start()

    async def stop() -> None:
        for camera in cameras.values():
            camera.stop()
        for camera in cameras.values():
            await asyncio.to_thread(camera.join, STOP_SECONDS)

    return Companion(start=start, stop=stop)
