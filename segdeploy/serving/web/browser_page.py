"""Routes under /browser: pages that run a model of the server on the visitor's own device."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from segdeploy.errors import ConfigError, RequestError
from segdeploy.serving.engine.models import ServedModel
from segdeploy.serving.web.answers import JSON
from segdeploy.serving.web.service import Service
from segdeploy.web import site

ISOLATION: Mapping[str, str] = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""Headers without which browsers give a page no threads."""

RUNTIME_AGE = 86400
"""Seconds for which a browser keeps the runtime, most of what travels."""


class BrowserPages:
    """Answers the routes. Whoever may use the server can load the files of its models."""

    def __init__(self, service: Service) -> None:
        """Keep the parts of the server."""
        self._service = service

    def routes(self) -> list[Route]:
        """Return all routes."""
        return [
            Route("/browser", self._redirect, methods=["GET"]),
            Route("/browser/{model}", self._redirect, methods=["GET"]),
            Route("/browser/{model}/{file:path}", self._send, methods=["GET"]),
        ]

    async def _redirect(self, request: Request) -> Response:
        """Send to the folder of a model: the files of its page are named relative to it."""
        model = self._service.models.get(request.path_params.get("model"))
        return RedirectResponse(f"/browser/{model.name}/", status_code=307)

    async def _send(self, request: Request) -> Response:
        model = self._service.models.get(request.path_params["model"])
        return await asyncio.to_thread(_answer, model, request.path_params["file"] or "index.html")


def _answer(model: ServedModel, name: str) -> Response:
    """Return a file of the page of a model.

    Raises:
        RequestError: There is none of that name, or a browser cannot run the model.
    """
    if model.path.suffix != ".onnx":
        msg = f"{model.name} is no ONNX file, which browsers need; serve one that was exported"
        raise RequestError(msg, status=404)
    try:
        files = site.page_files()
        if name == site.DESCRIPTION_FILE:
            description = site.describe(model.path, offline=False)
            return Response(json.dumps(description), media_type=JSON, headers=ISOLATION)
    except ConfigError as error:
        raise RequestError(str(error), status=404) from error
    if name == site.MODEL_FILE:
        return _file(model.path, name)
    # The service worker is for servers that do not set the headers themselves.
    if name not in files or name == site.SERVICE_FILE:
        msg = f"the page has no file {name[:64]!r}; open /browser"
        raise RequestError(msg, status=404)
    return _file(files[name], name)


def _file(path: Path, name: str) -> Response:
    headers = dict(ISOLATION)
    if name.startswith("runtime/"):
        headers["Cache-Control"] = f"private, max-age={RUNTIME_AGE}"
    return FileResponse(path, media_type=site.TYPES[PurePosixPath(name).suffix], headers=headers)
