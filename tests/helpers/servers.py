"""Servers for tests: inside the process, with a backend whose masks can be worked out by hand."""

from pathlib import Path

import httpx

from segdeploy.backends.base import Backend
from segdeploy.serving.application import build_front, build_service
from segdeploy.serving.engine.access import Access
from segdeploy.serving.engine.execution import Execution
from segdeploy.serving.engine.limits import Limits
from segdeploy.serving.engine.metrics import Metrics
from segdeploy.serving.engine.models import LoadSettings, ModelStore, ServedModel
from segdeploy.serving.web.front import Front
from segdeploy.serving.web.service import Service
from tests.helpers.backends import ChannelBackend

KEY = "0123456789abcdef-key"


def make_model(backend: Backend | None = None, *, name: str = "colors") -> ServedModel:
    """Return a model that is loaded already."""
    return ServedModel(
        name=name,
        path=Path(f"{name}.onnx"),
        runtime="test",
        backend=backend or ChannelBackend(),
        execution=Execution(callers=1, threads=1, batch=1, reason="a test"),
        is_verified=True,
        fingerprint=(),
    )


class FixedStore(ModelStore):
    """A store whose models are loaded already."""

    def __init__(self, *models: ServedModel, folder: Path | None = None) -> None:
        super().__init__({}, settings=LoadSettings(), folder=folder)
        self._models = {model.name: model for model in models}


def make_service(
    *models: ServedModel, limits: Limits | None = None, keys: tuple[str, ...] = ()
) -> Service:
    """Return the parts of a server."""
    return build_service(
        FixedStore(*(models or (make_model(),))),
        metrics=Metrics(),
        limits=limits or Limits(),
        access=Access(keys),
    )


def make_client(service: Service | None = None, *, front: Front | None = None) -> httpx.AsyncClient:
    """Return a client of a server inside the process."""
    app = front or build_front(service or make_service())
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")
