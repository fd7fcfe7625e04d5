"""The protocol over REST, with tensors in JSON or as bytes behind it."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from segdeploy import __version__
from segdeploy.arrays import Batch
from segdeploy.card import ModelCard
from segdeploy.errors import RequestError
from segdeploy.serving.engine.models import VERSION, ServedModel
from segdeploy.serving.engine.scheduler import Work
from segdeploy.serving.protocol.inference import EXTENSIONS, find_model, infer
from segdeploy.serving.protocol.tensors import (
    Array,
    check_input,
    datatype_of,
    from_bytes,
    from_numbers,
    inputs_of,
    outputs_of,
)
from segdeploy.serving.web.body import read_body
from segdeploy.serving.web.service import Service

HEADER_LENGTH = "inference-header-content-length"
"""Header that says how many bytes of a body are JSON; tensors follow."""

LONGEST_SHAPE = 16

Parameters = dict[str, bool | int | float | str]


class Input(msgspec.Struct, kw_only=True):
    """One input of a request."""

    name: str
    shape: Annotated[list[int], msgspec.Meta(max_length=LONGEST_SHAPE)]
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Output(msgspec.Struct, kw_only=True):
    """One wanted output."""

    name: str
    parameters: Parameters = {}


class Inference(msgspec.Struct, kw_only=True):
    """The JSON of a request."""

    inputs: list[Input]
    id: str = ""
    parameters: Parameters = {}
    outputs: list[Output] = []

    def is_binary(self, name: str) -> bool:
        """Return whether an output is sent as bytes."""
        parameters = next((one.parameters for one in self.outputs if one.name == name), {})
        default = self.parameters.get("binary_data_output", False)
        return bool(parameters.get("binary_data", default))


class ProtocolRoutes:
    """Answers the routes below /v2."""

    def __init__(self, service: Service) -> None:
        """Keep the parts of the server."""
        self._service = service

    def routes(self) -> list[Route]:
        """Return all routes."""
        model = "/v2/models/{model}"
        version = model + "/versions/{version}"
        repository = "/v2/repository"
        return [
            Route("/v2", self._server, methods=["GET"]),
            Route("/v2/", self._server, methods=["GET"]),
            Route("/v2/health/live", self._live, methods=["GET"]),
            Route("/v2/health/ready", self._ready, methods=["GET"]),
            *(
                Route(place + ending, endpoint, methods=[method])
                for place in (model, version)
                for ending, endpoint, method in (
                    ("", self._model, "GET"),
                    ("/ready", self._model_ready, "GET"),
                    ("/infer", self._infer, "POST"),
                )
            ),
            Route(f"{repository}/index", self._index, methods=["POST"]),
            Route(f"{repository}/models/{{model}}/load", self._load, methods=["POST"]),
            Route(f"{repository}/models/{{model}}/unload", self._unload, methods=["POST"]),
        ]

    async def _server(self, _: Request) -> Response:
        return _json({"name": "segdeploy", "version": __version__, "extensions": EXTENSIONS})

    async def _live(self, _: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, _: Request) -> Response:
        is_ready = not self._service.scheduler.is_closed and bool(self._service.models.loaded)
        return _json({"ready": is_ready}, status=200 if is_ready else 503)

    def _find(self, request: Request) -> ServedModel:
        path = request.path_params
        return find_model(self._service.models, path["model"], path.get("version", ""))

    async def _model(self, request: Request) -> Response:
        return _json(metadata(self._find(request)))

    async def _model_ready(self, request: Request) -> Response:
        return _json({"name": self._find(request).name, "ready": True})

    async def _infer(self, request: Request) -> Response:
        service, model = self._service, self._find(request)
        service.scheduler.check_room()
        with service.memory.hold() as held:
            body = await read_body(request, service.limits, held)
            head, tensors = split_body(body, request.headers.get(HEADER_LENGTH))
            asked = read_inference(head)
            # Numbers in JSON take a while to read, which others must not wait for.
            batch = await run_in_threadpool(read_batch, asked, tensors, model.card)
            names = [output.name for output in asked.outputs]
            job = infer(model, batch, names)

            def do(work: Work) -> tuple[bytes, int | None]:
                outputs = job(work)
                with work.stage("encode"):
                    return write_outputs(asked, outputs, model)

            content, length = await service.do(do, request)
        if length is None:
            return Response(content, media_type="application/json")
        headers = {HEADER_LENGTH: str(length)}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def _index(self, request: Request) -> Response:
        asked = await self._read_json(request)
        states = self._service.models.index()
        return _json(
            [
                {
                    "name": state.name,
                    "version": VERSION,
                    "state": state.state,
                    "reason": state.reason,
                }
                for state in states
                if state.state == "READY" or not asked.get("ready", False)
            ]
        )

    async def _load(self, request: Request) -> Response:
        asked = await self._read_json(request)
        self._service.models.check_clients_may_load()
        if asked.get("parameters"):
            msg = "a model is loaded as its file is; leave the parameters out"
            raise RequestError(msg, status=400)
        models = self._service.models
        model = await run_in_threadpool(models.load, request.path_params["model"])
        self._service.scheduler.grow(model.execution.workers)
        return Response()

    async def _unload(self, request: Request) -> Response:
        await self._read_json(request)
        models = self._service.models
        models.check_clients_may_load()
        await run_in_threadpool(models.unload, request.path_params["model"])
        return Response()

    async def _read_json(self, request: Request) -> Mapping[str, Any]:
        """Return the table in a body; an empty one where there is none."""
        with self._service.memory.hold() as held:
            body = await read_body(request, self._service.limits, held)
        return _decode(body, dict[str, Any]) if body.strip() else {}


def _json(values: object, *, status: int = 200) -> Response:
    return Response(json.dumps(values), status_code=status, media_type="application/json")


def metadata(model: ServedModel) -> Mapping[str, object]:
    """Return the metadata of a model, from its card."""
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": f"segdeploy_{model.runtime}",
        "inputs": [msgspec.to_builtins(info) for info in inputs_of(model.card)],
        "outputs": [msgspec.to_builtins(info) for info in outputs_of(model.card)],
    }


def split_body(body: bytes, length: str | None) -> tuple[bytes, memoryview]:
    """Return the JSON of a body, and the bytes of its tensors.

    Args:
        body: The body.
        length: Value of the header `HEADER_LENGTH`; None where there is none.

    Raises:
        RequestError: The length is no number, or longer than the body.
    """
    if length is None:
        return body, memoryview(b"")
    if not (length.isascii() and length.isdecimal() and int(length[:20]) <= len(body)):
        msg = f"{HEADER_LENGTH} is {length[:32]!r}, and the body has {len(body)} bytes; correct it"
        raise RequestError(msg, status=400)
    return body[: int(length)], memoryview(body)[int(length) :]


def read_inference(head: bytes) -> Inference:
    """Return the JSON of a request.

    Raises:
        RequestError: It is no JSON, or not of that form.
    """
    asked: Inference = _decode(head, Inference)
    parts: list[Input | Output] = [*asked.inputs, *asked.outputs]
    for part in parts:
        refused = {"shared_memory_region", "classification"} & part.parameters.keys()
        if refused:
            msg = f"{min(refused)} of {part.name[:64]!r} is an extension that this server lacks"
            raise RequestError(msg, status=400)
    return asked


def _decode(content: bytes, kind: type[Any]) -> Any:  # noqa: ANN401 - of the given type
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        msg = f"the body is no JSON of the protocol ({str(error)[:200]}); correct it"
        raise RequestError(msg, status=400) from error


def read_batch(asked: Inference, tensors: memoryview, card: ModelCard) -> Batch:
    """Return the images of a request.

    Args:
        asked: Its JSON.
        tensors: The bytes behind it.
        card: Card of the model.

    Raises:
        RequestError: They are not what the model takes.
    """
    first = asked.inputs[0] if asked.inputs else Input(name="", shape=[], datatype="")
    check_input(
        card,
        names=[one.name for one in asked.inputs],
        datatype=first.datatype,
        shape=first.shape,
    )
    size = first.parameters.get("binary_data_size")
    if size is None:
        if tensors:
            msg = f"{len(tensors)} bytes follow the JSON, but no input has a binary_data_size"
            raise RequestError(msg, status=400)
        if first.data is msgspec.UNSET:
            msg = f"the input {first.name!r} has neither data nor a binary_data_size; send one"
            raise RequestError(msg, status=400)
        return from_numbers(_decode(bytes(first.data), Any), shape=first.shape, card=card)
    if size != len(tensors) or isinstance(size, bool):
        msg = f"binary_data_size is {size}, and {len(tensors)} bytes follow the JSON; correct it"
        raise RequestError(msg, status=400)
    return from_bytes(tensors, shape=first.shape, card=card)


def write_outputs(
    asked: Inference, outputs: Mapping[str, Array], model: ServedModel
) -> tuple[bytes, int | None]:
    """Return the body of a response, and how many bytes of it are JSON; None where all are."""
    described: list[dict[str, object]] = []
    blocks: list[bytes] = []
    for name, array in outputs.items():
        entry: dict[str, object] = {
            "name": name,
            "datatype": datatype_of(array),
            "shape": list(array.shape),
        }
        if asked.is_binary(name):
            block = np.ascontiguousarray(array).tobytes()
            entry["parameters"] = {"binary_data_size": len(block)}
            blocks.append(block)
        else:
            entry["data"] = array.ravel().tolist()
        described.append(entry)
    values: dict[str, object] = {"model_name": model.name, "model_version": VERSION}
    if asked.id:
        values["id"] = asked.id
    head = msgspec.json.encode({**values, "outputs": described})
    return b"".join([head, *blocks]), len(head) if blocks else None
