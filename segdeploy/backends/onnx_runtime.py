"""ONNX Runtime and its execution providers."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import (
    CONFIDENCE,
    INPUT,
    RuntimeOptions,
    card_from_metadata,
    check_batch,
)
from segdeploy.backends.onnx_metadata import read_metadata
from segdeploy.card import ModelCard
from segdeploy.errors import DeviceError, ModelError
from segdeploy.system.machine import cores

CPU = "CPUExecutionProvider"

LOG_FATAL = 4
"""Log level of ONNX Runtime. Errors below it are raised too, and reported by this module."""

FAILURES = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NoModel,
    failures.NotImplemented,
    failures.RuntimeException,
    UnicodeDecodeError,
)
"""What ONNX Runtime raises for a file that it cannot use; UnicodeDecodeError where a damaged name
stands in the message."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An execution provider of ONNX Runtime.

    Attributes:
        name: Name in ONNX Runtime.
        package: Build of ONNX Runtime that contains it.
        requirements: What else must be installed.
        numbered: Whether there may be several such devices, selected by a number.
        options: Provider options of a session.
    """

    name: str
    package: str
    requirements: str
    numbered: bool
    options: Mapping[str, str]


PROVIDERS: Mapping[str, Provider] = {
    "cuda": Provider(
        name="CUDAExecutionProvider",
        package="onnxruntime-gpu",
        requirements="an NVIDIA driver, CUDA and cuDNN (pip install 'onnxruntime-gpu[cuda,cudnn]')",
        numbered=True,
        # An exhaustive search takes seconds for each input size; the heuristic is nearly as good.
        options={"cudnn_conv_algo_search": "HEURISTIC"},
    ),
    "tensorrt": Provider(
        name="TensorrtExecutionProvider",
        package="onnxruntime-gpu",
        requirements="an NVIDIA driver, CUDA, cuDNN and TensorRT (pip install tensorrt)",
        numbered=True,
        # Building an engine takes minutes, so it is cached for the next run.
        options={
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": ".segdeploy-tensorrt",
            "trt_timing_cache_enable": "1",
        },
    ),
    "openvino": Provider(
        name="OpenVINOExecutionProvider",
        package="onnxruntime-openvino",
        requirements="nothing else",
        numbered=False,
        options={"device_type": "AUTO"},
    ),
    "coreml": Provider(
        name="CoreMLExecutionProvider",
        package="onnxruntime (macOS)",
        requirements="macOS 12 or newer",
        numbered=False,
        options={},
    ),
    "directml": Provider(
        name="DmlExecutionProvider",
        package="onnxruntime-directml",
        requirements="Windows 10 or newer and a DirectX 12 device",
        numbered=True,
        options={},
    ),
}
"""Execution providers by the names that `--device` accepts."""

AUTOMATIC = ("cuda",)
"""What "auto" tries before the CPU. Providers that build an engine for minutes, or round
differently, run only when they are named."""

ProviderRequest = list[str | tuple[str, Mapping[str, str]]]
"""Providers of a session, the preferred one first, as ONNX Runtime takes them."""


def request_providers(device: str, available: Sequence[str] | None = None) -> ProviderRequest:
    """Return the providers to request for a device, the preferred one first.

    Args:
        device: "auto", "cpu", or a name in `PROVIDERS`, with ":n" appended where there may be
            several.
        available: Providers to choose from; those of the installed ONNX Runtime where None.

    Raises:
        DeviceError: The name is unknown, or this build of ONNX Runtime lacks its provider.
    """
    if available is None:
        available = onnxruntime.get_available_providers()
    if device == "cpu":
        return [CPU]
    if device == "auto":
        names = [name for name in AUTOMATIC if PROVIDERS[name].name in available]
        return [*(provider_with_options(name, "0") for name in names), CPU]
    name, colon, number = device.partition(":")
    provider = PROVIDERS.get(name)
    if provider is None or (colon and not (provider.numbered and number.isdecimal())):
        msg = (
            f"there is no device {device!r}; choose auto, cpu, {', '.join(PROVIDERS)}, and cuda:1"
            " for the second one"
        )
        raise DeviceError(msg)
    if provider.name not in available:
        msg = (
            f"the device {device!r} is not available: this ONNX Runtime has no {provider.name};"
            f" install {provider.package}, or choose cpu or auto"
        )
        raise DeviceError(msg)
    return [provider_with_options(name, number or "0"), CPU]


def provider_with_options(name: str, number: str) -> tuple[str, Mapping[str, str]]:
    """Return the name in ONNX Runtime of a provider, with its options.

    Args:
        name: Key in `PROVIDERS`.
        number: Which of several devices.
    """
    provider = PROVIDERS[name]
    device_id = {"device_id": number} if provider.numbered else {}
    return provider.name, {**provider.options, **device_id}


def check_granted(device: str, granted: Sequence[str]) -> None:
    """Check that a session runs on the requested device.

    Args:
        device: What was requested, as `request_providers` takes it.
        granted: The session's providers.

    Raises:
        DeviceError: ONNX Runtime silently fell back to another provider.
    """
    provider = PROVIDERS.get(device.partition(":")[0])
    if provider is not None and provider.name not in granted:
        msg = (
            f"the device {device!r} is not available: ONNX Runtime granted {granted[0]}; it needs"
            f" {provider.requirements}; see 'segdeploy doctor'"
        )
        raise DeviceError(msg)


DeviceMemory = tuple[str, int]
"""The memory of a device as ONNX Runtime names it: a type and a number."""


class OnnxBackend:
    """A session of ONNX Runtime."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        card: ModelCard,
        *,
        memory: DeviceMemory | None = None,
    ) -> None:
        """Wrap a session.

        Args:
            session: Its input is called `image`, and its output as the card says.
            card: Card of the network.
            memory: Memory of a device, in which input and output stay allocated from call to call;
                None where the session reads CPU memory.
        """
        self._session = session
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
        """Return the output for (N, H, W, 3) uint8 RGB images; see `Backend.run`."""
        check_batch(batch, self._card)
        images = np.ascontiguousarray(batch)
        # An adopted file may have a fixed batch size of one.
        split = self._single_image and len(images) > 1
        parts = np.split(images, len(images)) if split else [images]
        outputs: list[Any] = [
            self._run(part) if self._memory is None else self._run_bound(part, self._memory)
            for part in parts
        ]
        output: NetworkOutput = outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
        return output

    def _run(self, images: Batch) -> NetworkOutput:
        output: NetworkOutput = self._session.run([self._card.output], {INPUT: images})[0]
        return output

    def _run_bound(self, images: Batch, memory: DeviceMemory) -> NetworkOutput:
        """Run with tensors bound to device memory.

        Each thread has its own, allocated anew only when the shape of the batch changes.
        """
        local = self._local
        if getattr(local, "shape", None) != images.shape:
            local.images = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                images.shape, np.uint8, *memory
            )
            local.binding = self._session.io_binding()
            local.binding.bind_ortvalue_input(INPUT, local.images)
            local.binding.bind_output(self._card.output, *memory)
            local.shape = images.shape
        local.images.update_inplace(images)
        self._session.run_with_iobinding(local.binding)
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
    card = card_from_metadata(read_metadata(path), source=str(path))
    device = options.device
    settings = _session_options(options.threads or cores(), spinning=options.spinning)
    try:
        session = onnxruntime.InferenceSession(
            str(path), settings, providers=request_providers(device)
        )
    except FAILURES as error:
        reason = " ".join(str(error).split())[:200]
        if device != "cpu" and _runs_on_cpu(path):
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
    session.disable_fallback()
    check_granted(device, session.get_providers())
    _check_session(session, card, path)
    return OnnxBackend(session, card, memory=device_memory(session.get_provider_options()))


def device_memory(granted: Mapping[str, Mapping[str, str]]) -> DeviceMemory | None:
    """Return the CUDA memory in which a session keeps its tensors; None on other devices.

    Without bound tensors, each call would allocate them anew on the device.

    Args:
        granted: Options of the session's providers by their names, the preferred one first.
    """
    first, options = next(iter(granted.items()))
    if first not in (PROVIDERS["cuda"].name, PROVIDERS["tensorrt"].name):
        return None
    return "cuda", int(options.get("device_id", 0))


def granted_providers() -> Mapping[str, bool]:
    """Return which providers of this build a session is really granted, the preferred one first.

    A build lists a provider even where its driver or libraries are missing, so each is tried on a
    tiny model.
    """
    granted = {}
    for provider in onnxruntime.get_available_providers():
        try:
            session = onnxruntime.InferenceSession(
                _IDENTITY, _session_options(1, spinning=False), providers=[provider]
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


def _runs_on_cpu(path: Path) -> bool:
    """Return whether a session on the CPU can be created, so that the device is at fault."""
    try:
        onnxruntime.InferenceSession(
            str(path), _session_options(1, spinning=False), providers=[CPU]
        )
    except FAILURES:
        return False
    return True


def _session_options(threads: int, *, spinning: bool) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return options


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
    allowed = [[(INPUT, "tensor(uint8)", [images, height, width, 3])] for images in (None, 1)]
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
