"""Routes for operators and for the page: health, metrics, models, the page itself, its login."""

import json
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from segdeploy import __version__
from segdeploy.errors import RequestError
from segdeploy.serving.engine.access import COOKIE
from segdeploy.serving.engine.metrics import CONTENT_TYPE
from segdeploy.serving.web.answers import JSON
from segdeploy.serving.web.openapi import document
from segdeploy.serving.web.service import Service

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The page's files and their media types, by their addresses."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
"""What the page may load: nothing from elsewhere."""

LONGEST_KEY = 4096


class Operations:
    """Answers the routes."""

    def __init__(self, service: Service) -> None:
        """Keep the parts of the server."""
        self._service = service
        folder = files("segdeploy.serving") / "page"
        self._page = {
            address: ((folder / name).read_bytes(), media)
            for address, (name, media) in PAGE.items()
        }

    def routes(self) -> list[Route]:
        """Return all routes."""
        return [
            *(Route(address, self._send_page, methods=["GET"]) for address in PAGE),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/health/live", self._live, methods=["GET"]),
            Route("/health/ready", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/models", self._models, methods=["GET"]),
            Route("/openapi.json", self._openapi, methods=["GET"]),
        ]

    async def _send_page(self, request: Request) -> Response:
        content, media = self._page[request.url.path]
        return Response(content, media_type=media, headers={"Content-Security-Policy": POLICY})

    async def _log_in(self, request: Request) -> Response:
        """Keep a key in a cookie that no script and no other site can read."""
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > LONGEST_KEY:
                msg = f"the key has more than {LONGEST_KEY} bytes; send the key alone"
                raise RequestError(msg, status=413)
        key = content.decode("utf-8", "replace").strip()
        if not self._service.access.allows(key):
            msg = "the key is wrong; ask whoever runs this server"
            raise RequestError(msg, status=401)
        response = Response(status_code=204)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=secure)
        return response

    async def _live(self, _: Request) -> Response:
        return _json({"status": "live"})

    async def _ready(self, _: Request) -> Response:
        """Return 200 while requests are accepted."""
        service = self._service
        if service.scheduler.is_closed or not service.models.loaded:
            msg = "the server is stopping, or has no model; ask another one"
            raise RequestError(msg, status=503, retry_after=5)
        return _json({"status": "ready", "models": list(service.models.loaded)})

    async def _metrics(self, _: Request) -> Response:
        return Response(self._service.metrics.page(), headers={"Content-Type": CONTENT_TYPE})

    async def _models(self, _: Request) -> Response:
        """Return what the page needs to know of each model, the default first."""
        return _json(
            [
                {
                    "name": model.name,
                    "architecture": model.card.architecture,
                    "precision": model.card.precision,
                    "runtime": model.backend.device,
                    "verified": model.is_verified,
                    "execution": str(model.execution),
                    "input": [model.card.input.height, model.card.input.width],
                    "confidence": model.card.output != "classes",
                    "classes": [
                        {"name": entry.name, "color": list(entry.color)}
                        for entry in model.card.classes
                    ],
                }
                for model in self._service.models.loaded.values()
            ]
        )

    async def _openapi(self, _: Request) -> Response:
        return _json(document(__version__, list(self._service.models.loaded)))


def _json(values: object) -> Response:
    return Response(json.dumps(values), media_type=JSON)
