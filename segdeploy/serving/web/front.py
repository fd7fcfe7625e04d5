"""What every request passes: access, errors as responses, headers, metrics, and the access log."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segdeploy.errors import CancelledRequest
from segdeploy.serving.engine.access import Access
from segdeploy.serving.engine.metrics import Metrics
from segdeploy.serving.web.problems import LEFT, status_of, to_response

PUBLIC = frozenset(
    {"/", "/page.css", "/page.js", "/login", "/health/live", "/health/ready"}
    | {"/v2/health/live", "/v2/health/ready", "/icon.svg"}
)
"""Addresses that need no key: the page, which asks for one, and what orchestrators ask."""

DISCARDED = 8 << 20
"""Bytes of a refused request's body that are still read, so that its client sees the response."""

DISCARD_SECONDS = 1.0

HEADERS: Mapping[bytes, bytes] = {
    b"x-content-type-options": b"nosniff",
    b"cache-control": b"no-store",
    b"referrer-policy": b"no-referrer",
}

Log = Callable[[Mapping[str, object]], None]


class Exchange:
    """One request and its response, as far as they went."""

    def __init__(
        self, receive: Receive, send: Send, *, extra: Callable[[], Mapping[bytes, bytes]]
    ) -> None:
        """Wrap what the server gives.

        Args:
            receive: Returns the request's next message.
            send: Sends a message of the response.
            extra: Returns further headers, once the response starts.
        """
        self._receive, self._send, self._extra = receive, send, extra
        self.is_read = self.has_started = self.has_left = False
        self.status = 0
        self.received = self.sent = 0

    async def receive(self) -> Message:
        """Return the next message of the request."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self.is_read = not message.get("more_body", False)
        elif message["type"] == "http.disconnect":
            self.is_read = self.has_left = True
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the response, with the headers that all responses have."""
        if message["type"] == "http.response.start":
            self.has_started, self.status = True, message["status"]
            given = dict(message.get("headers", ()))
            added = {**HEADERS, **self._extra()}
            message["headers"] = [
                *message.get("headers", ()),
                *((name, value) for name, value in added.items() if name not in given),
            ]
        self.sent += len(message.get("body", b""))
        await self._send(message)

    async def discard(self) -> None:
        """Read on for a moment: closing earlier would lose the response on its way."""
        count = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS):
                while not self.is_read and count < DISCARDED:
                    count += len((await self.receive()).get("body", b""))


class Front:
    """The application that the server runs: everything passes here before its route.

    Attributes:
        routes: All routes.
        is_closing: Whether clients are told to close their connections.
    """

    def __init__(
        self, routes: Router, *, access: Access, metrics: Metrics, log: Log | None = None
    ) -> None:
        """Stand before routes.

        Args:
            routes: Answer the requests.
            access: Decides who is answered.
            metrics: Counts.
            log: Takes a record of each request; None for no log.
        """
        self._app: ASGIApp = routes
        self.routes = tuple(routes.routes)
        self._access = access
        self._metrics = metrics
        self._log = log
        self.is_closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one WebSocket."""
        # Routes then raise what they have no response for, instead of plain text.
        scope["app"] = self
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.monotonic()
        exchange = Exchange(receive, send, extra=lambda: self._headers(scope))
        failure: Exception | None = None
        try:
            self._access.check(_headers_of(scope), is_public=scope["path"] in PUBLIC)
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = LEFT
        except Exception as error:  # noqa: BLE001 - every error becomes a response
            failure = error
            await self._refuse(error, scope, exchange)
        seconds = time.monotonic() - start
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.count_request(route, exchange.status, seconds)
        if self._log is not None:
            self._log(_record(scope, exchange, seconds=seconds, failure=failure))

    async def _refuse(self, error: Exception, scope: Scope, exchange: Exchange) -> None:
        if isinstance(error, CancelledRequest) or exchange.has_left:
            exchange.status = LEFT
            return
        if exchange.has_started:
            exchange.status = status_of(error)
            # The response is cut off: only so does its client notice.
            raise CutOff from error
        if _headers_of(scope).get("expect", "").lower() != "100-continue":
            await exchange.discard()
        if not exchange.has_left:
            await to_response(error)(scope, exchange.receive, exchange.send)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._access.check(_headers_of(scope), is_public=False)
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - every error ends the connection
            with suppress(Exception):
                await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:100]})
            if self._log is not None:
                self._log({"path": scope["path"], "error": str(error)})

    def _headers(self, scope: Scope) -> Mapping[bytes, bytes]:
        headers: dict[bytes, bytes] = {}
        if stages := stages_of(scope):
            text = ", ".join(f"{name};dur={1000 * value:.1f}" for name, value in stages.items())
            headers[b"server-timing"] = text.encode()
        if self.is_closing:
            headers[b"connection"] = b"close"
        return headers


class CutOff(Exception):  # noqa: N818 - the server's way to end a response that has begun
    """A response ended in its middle."""


def stages_of(scope: Scope) -> dict[str, float]:
    """Return the seconds of a request's stages, to be read and written."""
    state: dict[str, Any] = scope.setdefault("state", {})
    stages: dict[str, float] = state.setdefault("stages", {})
    return stages


def _headers_of(scope: Scope) -> Mapping[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _record(
    scope: Scope, exchange: Exchange, *, seconds: float, failure: Exception | None
) -> Mapping[str, object]:
    client = scope.get("client")
    record: dict[str, object] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "client": client[0] if client else "",
        "method": scope["method"],
        "path": scope["path"],
        "status": exchange.status,
        "milliseconds": round(1000 * seconds, 1),
        "bytes_in": exchange.received,
        "bytes_out": exchange.sent,
    }
    if stages := stages_of(scope):
        record["stages"] = {name: round(1000 * value, 1) for name, value in stages.items()}
    if failure is not None:
        record["error"] = str(failure)
        if status_of(failure) == 500:
            record["fault"] = f"{type(failure).__name__} at {_place(failure)}"
    return record


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
