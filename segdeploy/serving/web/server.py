"""The server: listens, reloads models on SIGHUP, and stops when what it accepted is done.

This file wraps uvicorn.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from segdeploy.errors import ConfigError, OutputError, SegdeployError
from segdeploy.serving.engine.limits import Limits
from segdeploy.serving.web.front import Front
from segdeploy.serving.web.service import Service
from segdeploy.system.posix import on_hangup
from segdeploy.system.signals import StopRequest

LAST_SECONDS = 0.5
"""Seconds in which open connections may still send a request after the server stopped listening."""

INTERVAL = 0.1
"""Seconds between two looks at whether a signal came."""

BACKLOG = 512


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server listens.

    Attributes:
        host: Name or number of the interface.
        port: Port; 0 for a free one.
        certificate: File of the certificate for TLS; None without TLS.
        key: File of its private key.
    """

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None

    @property
    def scheme(self) -> str:
        """Return "https" with a certificate, else "http"."""
        return "http" if self.certificate is None else "https"


def listen(address: Address) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OutputError: The address is in use, or is not of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot listen on {address.host}:{address.port} ({reason}); choose another --port"
        raise OutputError(msg) from error
    return listener


class BoundedProtocol(H11Protocol):
    """A connection that is closed when it stands still.

    uvicorn itself waits for ever for the head of a request, and for a client that does not read.
    """

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Close the connection at once where there are too many."""
        self._timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Expect the rest of a head that has begun."""
        try:
            super().data_received(data)
        except h11.LocalProtocolError:
            # A body whose chunks are damaged is noticed while its response is being sent.
            self.transport.abort()
            return
        if self.cycle is None or self.cycle.response_complete:
            if self._timer is None:
                self._expect()
        else:
            self._settle()

    def on_response_complete(self) -> None:
        """Stop waiting for the client to read."""
        super().on_response_complete()
        self._settle()

    def pause_writing(self) -> None:
        """Expect the client to read on."""
        super().pause_writing()
        self._expect()

    def resume_writing(self) -> None:
        """Stop waiting: the client reads."""
        super().resume_writing()
        self._settle()

    def _expect(self) -> None:
        self._settle()
        seconds = self.limits.read_seconds
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class HttpServer(uvicorn.Server):
    """uvicorn, with signals of ours and an end at which nothing accepted is lost."""

    def __init__(self, config: uvicorn.Config, front: Front) -> None:
        """Keep the application.

        Args:
            config: Settings of uvicorn.
            front: Tells clients to close their connections once the server stops.
        """
        super().__init__(config)
        self._front = front

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, answer what open connections still send, and wait for all responses."""
        for server in self.servers:
            server.close()
        self._front.is_closing = True
        await asyncio.sleep(LAST_SECONDS)
        await super().shutdown(sockets)


def http_server(app: ASGIApp, front: Front, *, address: Address, limits: Limits) -> HttpServer:
    """Return a server of HTTP and WebSockets.

    Raises:
        ConfigError: The certificate or its key cannot be used.
    """
    protocol = type("Protocol", (BoundedProtocol,), {"limits": limits})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="websockets-sansio",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        ws_max_size=1 << 16,
        ssl_certfile=address.certificate,
        ssl_keyfile=address.key,
        timeout_graceful_shutdown=round(limits.seconds),
    )
    try:
        config.load()
    except (OSError, ValueError) as error:
        msg = (
            f"the certificate {address.certificate} and its key {address.key} cannot be used"
            f" ({error}); name PEM files that belong together"
        )
        raise ConfigError(msg) from error
    return HttpServer(config, front)


@dataclass(frozen=True, kw_only=True)
class Companion:
    """Something that runs beside the HTTP server, such as gRPC or cameras.

    Attributes:
        start: Starts it, in the server's loop.
        stop: Stops it, with what it has accepted done.
    """

    start: Callable[[], Any]
    stop: Callable[[], Any]


async def serve(
    server: HttpServer,
    listener: socket.socket,
    service: Service,
    *,
    stop: StopRequest,
    companions: Sequence[Companion] = (),
    note: Callable[[str], None],
) -> None:
    """Serve until a stop is requested, and end when all that was accepted is done.

    Args:
        server: The HTTP server.
        listener: Its socket.
        service: The parts that its routes use.
        stop: Ends it.
        companions: What runs beside it.
        note: Takes what happened to the models.
    """
    reload = _reload_request()
    for companion in companions:
        await companion.start()
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        while not stop.requested and not running.done():
            await asyncio.sleep(INTERVAL)
            if reload.is_set():
                reload.clear()
                await asyncio.to_thread(reload_models, service, note)
        server.should_exit = True
        await asyncio.gather(running, *(companion.stop() for companion in companions))
    finally:
        service.scheduler.close()
    if not await asyncio.to_thread(service.scheduler.drain, service.limits.seconds):
        msg = "some requests were not done in time and were given up; raise --timeout"
        raise SegdeployError(msg)


def _reload_request() -> asyncio.Event:
    """Return what SIGHUP sets, where there is such a signal."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()

    on_hangup(lambda: loop.call_soon_threadsafe(event.set))
    return event


def reload_models(service: Service, note: Callable[[str], None]) -> None:
    """Load each model again whose file has changed; one that fails stays as it was."""
    for name, old in list(service.models.loaded.items()):
        try:
            new = service.models.load(name)
        except SegdeployError as error:
            note(f"{name} stays as it was: {error}")
        else:
            note(f"{name} {'is unchanged' if new is old else f'is now {new.execution}'}")
