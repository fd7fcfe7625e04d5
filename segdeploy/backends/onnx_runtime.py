"""ONNX Runtime and its execution providers."""

import re
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import (
    CONFIDENCE,
    INPUT,
    RuntimeOptions,
    card_from_metadata,
    check_batch,
    check_output,
    network_budget,
)
from segdeploy.backends.onnx_graph import check_graph
from segdeploy.backends.onnx_metadata import metadata_of, read_message
from segdeploy.backends.onnx_providers import (
    CPU,
    DeviceMemory,
    check_granted,
    device_memory,
    request_providers,
)
from segdeploy.backends.onnx_session import (
    FAILURES,
    GraphCache,
    cached_session,
    create_session,
    session_options,
)
from segdeploy.card import ModelCard
from segdeploy.errors import DeviceError, ModelError
from segdeploy.system.budget import VARIABLE, file_budget
from segdeploy.system.machine import cores

ORT_TYPES = {"uint8": "tensor(uint8)", "uint16": "tensor(uint16)", "float32": "tensor(float)"}
"""ONNX Runtime's names of the types of images."""

AT_NODE = re.compile(r"while running (\w+) node\. Name:'(.*?)' Status Message: (.*)")
"""The node that failed, in a message of ONNX Runtime."""

CODE = re.compile(r"/\S+\.(?:cc|h):\d+ .*?(?=[A-Z][a-z]+ )")
"""The function of ONNX Runtime that failed, in a message, up to the sentence behind it."""

NO_MEMORY = ("Available memory of", "bad_alloc", "bad allocation")
"""What messages of ONNX Runtime say where its memory is used up."""


class OnnxBackend:
    """A session of ONNX Runtime."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        card: ModelCard,
        *,
        memory: DeviceMemory | None = None,
        source: str = "the ONNX file",
        create: Callable[[int], onnxruntime.InferenceSession] | None = None,
    ) -> None:
        """Wrap a session.

        Args:
            session: Its input is called `image`, and its output as the card says.
            card: Card of the network.
            memory: Memory of a device, in which input and output stay allocated from call to call;
                None where the session reads CPU memory.
            source: Name of the file, for messages.
            create: Returns a session with memory for a number of pixels at the same time; None
                where the one given has no limit.
        """
        self._create = create
        self._pixels = card.input.height * card.input.width
        self._enlarging = threading.Lock()
        self._session = session
        self._source = source
        self._card = card
        self._memory = memory
        self._local = threading.local()
        self._single_image = session.get_inputs()[0].shape[0] == 1

    @property
    def card(self) -> ModelCard:
        """Return the card that the file carries."""
        return self._card

    @property
    def device(self) -> str:
        """Return the first granted provider, for example "onnxruntime CPUExecutionProvider"."""
        return f"onnxruntime {self._session.get_providers()[0]}"

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output for (N, H, W, 3) uint8 RGB images; see `Backend.run`.

        Raises:
            ConfigError: The card does not allow the batch.
            ModelError: ONNX Runtime cannot run the file, or its output contradicts the card.
        """
        check_batch(batch, self._card)
        images = np.ascontiguousarray(batch)
        # An adopted file may have a fixed batch size of one.
        split = self._single_image and len(images) > 1
        try:
            output = self._run_each(images) if split else self._run_all(images)
        except FAILURES as error:
            # The limit of memory is that of one image of the card's size until more is needed.
            if self._create and batch.size // 3 > self._pixels and _is_out_of_memory(error):
                self._enlarge(batch.size // 3)
                return self.run(batch)
            raise self._failure(error) from error
        check_output(output, batch, self._card, source=str(self._source))
        return output

    def _enlarge(self, pixels: int) -> None:
        """Replace the session by one with memory for so many pixels, if it has less."""
        with self._enlarging:
            if self._create is not None and pixels > self._pixels:
                self._session = self._create(pixels)
                self._pixels = pixels

    def _failure(self, error: Exception) -> ModelError:
        """Return what ONNX Runtime reports as one sentence with the node that failed."""
        message = " ".join(str(error).split())
        found = AT_NODE.search(message)
        node = f"its {found[1]} node {found[2] or 'without a name'} fails: " if found else ""
        reason = CODE.sub("", found[3] if found else message)[:300]
        hint = "export it again"
        if _is_out_of_memory(error):
            hint = f"give it more memory with the variable {VARIABLE} if you trust it"
        version = onnxruntime.__version__
        return ModelError(
            f"ONNX Runtime {version} cannot run {self._source} ({node}{reason}); {hint}"
        )

    def _run_each(self, images: Batch) -> NetworkOutput:
        output: NetworkOutput = np.concatenate([self._run_all(image[None]) for image in images])
        return output

    def _run_all(self, images: Batch) -> NetworkOutput:
        return self._run(images) if self._memory is None else self._run_bound(images, self._memory)

    def _run(self, images: Batch) -> NetworkOutput:
        output: NetworkOutput = self._session.run([self._card.output], {INPUT: images})[0]
        return output

    def _run_bound(self, images: Batch, memory: DeviceMemory) -> NetworkOutput:
        """Run with tensors bound to device memory.

        Each thread has its own, allocated anew only when the shape of the batch changes.
        """
        local, session = self._local, self._session
        if getattr(local, "bound", None) != (images.shape, session):
            local.images = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                images.shape, images.dtype, *memory
            )
            local.binding = session.io_binding()
            local.binding.bind_ortvalue_input(INPUT, local.images)
            local.binding.bind_output(self._card.output, *memory)
            local.bound = images.shape, session
        local.images.update_inplace(images)
        session.run_with_iobinding(local.binding)
        # A copy, since the next call overwrites what the binding holds.
        output: NetworkOutput = np.array(local.binding.copy_outputs_to_cpu()[0])
        return output


def load(path: Path, options: RuntimeOptions) -> OnnxBackend:
    """Load a file that `segdeploy export --format onnx` wrote.

    Raises:
        ModelError: The file is missing, damaged, not an ONNX file, or contradicts its card.
        CardError: It has no usable card.
        DeviceError: The device is not available.
    """
    content = read_message(path)
    card = card_from_metadata(metadata_of(content, path), source=str(path))
    foldable = True if options.trust else check_graph(content, path)
    device = options.device
    providers = request_providers(device)
    threads = options.threads or cores()
    keeps = options.cache and not options.trust and providers == [CPU]
    cache = GraphCache.of(content, foldable=foldable) if keeps else None

    make_options = partial(session_options, threads, spinning=options.spinning)

    def create(pixels: int) -> onnxruntime.InferenceSession:
        limit = network_budget(pixels * options.callers, len(content))
        make = partial(
            create_session,
            providers=providers,
            limit=None if options.trust else limit,
            foldable=foldable,
        )
        if cache is not None:
            return cached_session(path, cache, make, make_options)
        return make(path, make_options())

    try:
        session = create(card.input.height * card.input.width)
    except FAILURES as error:
        reason = CODE.sub("", " ".join(str(error).split()))[:200]
        if device != "cpu" and _runs_on_cpu(path, foldable=foldable):
            msg = (
                f"the device {device!r} cannot run {path} ({reason}); see 'segdeploy doctor', or"
                " choose cpu"
            )
            raise DeviceError(msg) from error
        msg = (
            f"ONNX Runtime {onnxruntime.__version__} cannot run {path} ({reason}); export it"
            " again, with an older --opset if need be"
        )
        raise ModelError(msg) from error
    check_granted(device, session.get_providers())
    _check_session(session, card, path)
    return OnnxBackend(
        session,
        card,
        memory=device_memory(session.get_provider_options()),
        source=str(path),
        create=None if options.trust else create,
    )


def _is_out_of_memory(error: Exception) -> bool:
    return any(words in str(error) for words in NO_MEMORY)


def granted_providers() -> Mapping[str, bool]:
    """Return which providers of this build a session is really granted, the preferred one first.

    A build lists a provider even where its driver or libraries are missing, so each is tried on a
    tiny model.
    """
    granted = {}
    for provider in onnxruntime.get_available_providers():
        try:
            session = onnxruntime.InferenceSession(
                _IDENTITY, session_options(1, spinning=False), providers=[provider]
            )
            granted[provider] = provider in session.get_providers()
        except FAILURES:
            granted[provider] = False
    return granted


# One Identity node from x to y, both float32 of shape [1]: the fields of onnx.proto, each with its
# number, wire type and length.
_VALUE = b"\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01"
_GRAPH = (
    b"\x0a\x10\x0a\x01x\x12\x01y\x22\x08Identity\x12\x01g\x5a\x0f\x0a\x01x"
    + _VALUE
    + b"\x62\x0f\x0a\x01y"
    + _VALUE
)
_IDENTITY = b"\x08\x08\x42\x02\x10\x11\x3a\x37" + _GRAPH


def _runs_on_cpu(path: Path, *, foldable: bool) -> bool:
    """Return whether a session on the CPU can be created, so that the device is at fault."""
    try:
        settings = session_options(1, spinning=False)
        create_session(path, settings, providers=[CPU], limit=file_budget(0), foldable=foldable)
    except FAILURES:
        return False
    return True


def _check_session(session: onnxruntime.InferenceSession, card: ModelCard, path: Path) -> None:
    """Check that input and output of a graph are what its card says."""
    spec = card.input
    height, width = (None, None) if spec.dynamic else (spec.height, spec.width)
    inputs = [
        (value.name, value.type, [side if isinstance(side, int) else None for side in value.shape])
        for value in session.get_inputs()
    ]
    outputs = [
        (value.name, value.type, value.shape[1] if len(value.shape) == 4 else None)
        for value in session.get_outputs()
    ]
    kind, channels = ORT_TYPES[spec.dtype], len(spec.channels)
    allowed = [[(INPUT, kind, [images, height, width, channels])] for images in (None, 1)]
    if inputs not in allowed or outputs != _expected_outputs(card):
        msg = (
            f"{path} takes {inputs} and returns {outputs}, which contradicts its card; export it"
            " again"
        )
        raise ModelError(msg)


def _expected_outputs(card: ModelCard) -> list[tuple[str, str, int | None]]:
    """Return name, type and channels of each output of a file with this card.

    Classes have no channels.
    """
    if card.output != "classes":
        return [(card.output, "tensor(float)", len(card.classes))]
    names = ["classes", CONFIDENCE] if card.confidence else ["classes"]
    return [(name, "tensor(uint8)", None) for name in names]
