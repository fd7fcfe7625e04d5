"""The protocol over gRPC; this file wraps grpcio.

The methods are registered by their names in the protocol, so only the messages are generated.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import numpy as np

from segdeploy import __version__
from segdeploy.arrays import Batch
from segdeploy.card import ModelCard
from segdeploy.errors import OutputError, RequestError
from segdeploy.serving.engine.models import VERSION
from segdeploy.serving.protocol.generated import open_inference_pb2 as messages
from segdeploy.serving.protocol.inference import EXTENSIONS, find_model, infer
from segdeploy.serving.protocol.tensors import (
    TensorInfo,
    check_input,
    datatype_of,
    from_bytes,
    from_numbers,
    inputs_of,
    outputs_of,
)
from segdeploy.serving.web.problems import sentence_of, status_of
from segdeploy.serving.web.server import Address
from segdeploy.serving.web.service import Service

SERVICE = "inference.GRPCInferenceService"

PUBLIC = frozenset({"ServerLive", "ServerReady"})
"""Methods that need no key."""

CODES: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    499: grpc.StatusCode.CANCELLED,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""Codes of gRPC for those of HTTP."""

HEAD_BYTES = 1 << 20
"""What a message may have beside its tensors."""

Message = Any
"""One of the generated messages, whose classes are made when they are imported."""

Method = Callable[[Message, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Message]]


class ProtocolService:
    """Answers the calls."""

    def __init__(self, service: Service) -> None:
        """Keep the parts of the server."""
        self._service = service

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return all methods by their names."""
        methods: Mapping[str, Callable[[Message], Awaitable[Message]]] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._server,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model,
            "ModelInfer": self._infer,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    self._guarded(name, method),
                    request_deserializer=getattr(messages, f"{name}Request").FromString,
                    response_serializer=getattr(messages, f"{name}Response").SerializeToString,
                )
                for name, method in methods.items()
            },
        )

    def _guarded(self, name: str, method: Callable[[Message], Awaitable[Message]]) -> Method:
        """Return a method that checks keys, and whose errors become codes of gRPC."""

        async def call(request: Message, context: Message) -> Message:
            try:
                headers = {key: str(value) for key, value in context.invocation_metadata() or ()}
                self._service.access.check_key(headers, is_public=name in PUBLIC)
                return await method(request)
            except Exception as error:  # noqa: BLE001 - every error becomes a code
                code = CODES.get(status_of(error), grpc.StatusCode.INTERNAL)
                await context.abort(code, sentence_of(error))

        return call

    async def _live(self, _: Message) -> Message:
        return messages.ServerLiveResponse(live=True)

    async def _ready(self, _: Message) -> Message:
        service = self._service
        is_ready = not service.scheduler.is_closed and bool(service.models.loaded)
        return messages.ServerReadyResponse(ready=is_ready)

    async def _server(self, _: Message) -> Message:
        return messages.ServerMetadataResponse(
            name="segdeploy", version=__version__, extensions=EXTENSIONS
        )

    async def _model_ready(self, request: Message) -> Message:
        try:
            find_model(self._service.models, request.name, request.version)
        except RequestError:
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=True)

    async def _model(self, request: Message) -> Message:
        model = find_model(self._service.models, request.name, request.version)
        return messages.ModelMetadataResponse(
            name=model.name,
            versions=[VERSION],
            platform=f"segdeploy_{model.runtime}",
            inputs=map(_tensor, inputs_of(model.card)),
            outputs=map(_tensor, outputs_of(model.card)),
        )

    async def _infer(self, request: Message) -> Message:
        service = self._service
        model = find_model(service.models, request.model_name, request.model_version)
        service.scheduler.check_room()
        with service.memory.hold() as held:
            held.add(request.ByteSize())
            batch = await asyncio.to_thread(read_batch, request, model.card)
            job = infer(model, batch, [output.name for output in request.outputs])
            outputs = await service.wait(service.submit(job))
        response = messages.ModelInferResponse(
            model_name=model.name, model_version=VERSION, id=request.id
        )
        for name, array in outputs.items():
            response.outputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
            response.raw_output_contents.append(np.ascontiguousarray(array).tobytes())
        return response

    async def _index(self, request: Message) -> Message:
        return messages.RepositoryIndexResponse(
            models=[
                messages.RepositoryIndexResponse.ModelIndex(
                    name=state.name, version=VERSION, state=state.state, reason=state.reason
                )
                for state in self._service.models.index()
                if state.state == "READY" or not request.ready
            ]
        )

    async def _load(self, request: Message) -> Message:
        models = self._service.models
        models.check_clients_may_load()
        if request.parameters:
            msg = "a model is loaded as its file is; leave the parameters out"
            raise RequestError(msg, status=400)
        model = await asyncio.to_thread(models.load, request.model_name)
        self._service.scheduler.grow(model.execution.workers)
        return messages.RepositoryModelLoadResponse()

    async def _unload(self, request: Message) -> Message:
        models = self._service.models
        models.check_clients_may_load()
        await asyncio.to_thread(models.unload, request.model_name)
        return messages.RepositoryModelUnloadResponse()


def _tensor(info: TensorInfo) -> Message:
    return messages.ModelMetadataResponse.TensorMetadata(
        name=info.name, datatype=info.datatype, shape=info.shape
    )


def read_batch(request: Message, card: ModelCard) -> Batch:
    """Return the images of a request, a ModelInferRequest.

    Args:
        request: The request.
        card: Card of the model.

    Raises:
        RequestError: They are not what the model takes.
    """
    for part in (*request.inputs, *request.outputs):
        if refused := {"shared_memory_region", "classification"} & set(part.parameters):
            msg = f"{min(refused)} of {part.name[:64]!r} is an extension that this server lacks"
            raise RequestError(msg, status=400)
    first = request.inputs[0] if request.inputs else messages.ModelInferRequest.InferInputTensor()
    check_input(
        card,
        names=[one.name for one in request.inputs],
        datatype=first.datatype,
        shape=first.shape,
    )
    if len(request.raw_input_contents) > 1:
        msg = f"{len(request.raw_input_contents)} raw contents for one input; send one"
        raise RequestError(msg, status=400)
    if request.raw_input_contents:
        return from_bytes(request.raw_input_contents[0], shape=first.shape, card=card)
    return from_numbers(first.contents.uint_contents, shape=first.shape, card=card)


class GrpcServer:
    """Listens for gRPC; to be started and stopped in the loop of the HTTP server."""

    def __init__(self, service: Service, address: Address) -> None:
        """Keep what `start` needs.

        Args:
            service: The parts of the server.
            address: Where it listens.
        """
        self._service = service
        self._address = address
        self.port = 0

    async def start(self) -> None:
        """Listen.

        Raises:
            OutputError: The address is in use.
        """
        limits, address = self._service.limits, self._address
        most = limits.body + HEAD_BYTES
        self._server = grpc.aio.server(
            handlers=[ProtocolService(self._service).handlers()],
            maximum_concurrent_rpcs=limits.connections,
            options=[
                ("grpc.max_receive_message_length", most),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        host = f"[{address.host}]" if ":" in address.host else address.host
        target = f"{host}:{address.port}"
        try:
            if address.certificate is None or address.key is None:
                self.port = self._server.add_insecure_port(target)
            else:
                pair = (address.key.read_bytes(), address.certificate.read_bytes())
                credentials = grpc.ssl_server_credentials([pair])
                self.port = self._server.add_secure_port(target, credentials)
        except (RuntimeError, OSError) as error:
            msg = f"cannot listen on {target} for gRPC; choose another --grpc-port"
            raise OutputError(msg) from error
        await self._server.start()

    async def stop(self) -> None:
        """Stop listening, and wait until all calls are answered."""
        await self._server.stop(self._service.limits.seconds)
