"""Live views of cameras: MJPEG for eyes, lines of JSON in a WebSocket for programs."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from segdeploy.errors import RequestError
from segdeploy.serving.cameras.camera import Camera

BOUNDARY = "frame"

HEARTBEAT = 1.0
"""Seconds after which something is sent even without a new frame: its age."""

SEND_SECONDS = 10.0
"""Seconds in which a client must take a line."""

VIEWERS = 32
"""Views of all cameras at the same time."""


class LiveViews:
    """Answers the routes of cameras."""

    def __init__(self, cameras: Mapping[str, Camera]) -> None:
        """Keep the cameras, by their names."""
        self._cameras = cameras
        self._viewers = 0

    def routes(self) -> list[BaseRoute]:
        """Return all routes."""
        return [
            Route("/cameras", self._list, methods=["GET"]),
            Route("/live/{camera}", self._view, methods=["GET"]),
            WebSocketRoute("/live/{camera}/events", self._events),
        ]

    def _find(self, name: str) -> Camera:
        if name not in self._cameras:
            names = ", ".join(self._cameras) or "none"
            msg = f"there is no camera {name[:64]!r}; cameras are: {names}"
            raise RequestError(msg, status=404)
        if self._viewers >= VIEWERS:
            msg = f"{VIEWERS} views are open, which is all that may; close one"
            raise RequestError(msg, status=503, retry_after=10)
        return self._cameras[name]

    async def _list(self, _: Request) -> Response:
        states = [camera.state() for camera in self._cameras.values()]
        return Response(json.dumps(states), media_type="application/json")

    async def _view(self, request: Request) -> Response:
        camera = self._find(request.path_params["camera"])
        media = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        return StreamingResponse(self._pictures(camera), media_type=media)

    async def _pictures(self, camera: Camera) -> AsyncIterator[bytes]:
        """Yield overlays as they come, the newest each time."""
        self._viewers += 1
        try:
            with camera.viewed():
                while not camera.is_stopping:
                    content = await asyncio.to_thread(camera.picture)
                    if content is not None:
                        head = (
                            f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                            f"Content-Length: {len(content)}\r\n\r\n"
                        )
                        yield head.encode() + content + b"\r\n"
                    await camera.wait(HEARTBEAT)
        finally:
            self._viewers -= 1

    async def _events(self, socket: WebSocket) -> None:
        """Send a line of JSON for each frame, and one a second without."""
        camera = self._find(socket.path_params["camera"])
        await socket.accept()
        self._viewers += 1
        reader = asyncio.ensure_future(_read_until_left(socket))
        try:
            while not camera.is_stopping and not reader.done():
                line = json.dumps(camera.state())
                await asyncio.wait_for(socket.send_text(line), SEND_SECONDS)
                await camera.wait(HEARTBEAT)
        except (WebSocketDisconnect, TimeoutError):
            pass
        finally:
            self._viewers -= 1
            reader.cancel()
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(1001 if camera.is_stopping else 1000)


async def _read_until_left(socket: WebSocket) -> None:
    """Take what a client sends, which nobody reads, until it leaves."""
    with suppress(WebSocketDisconnect):
        while True:
            await socket.receive_text()
