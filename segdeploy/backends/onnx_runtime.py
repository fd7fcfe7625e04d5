"""ONNX Runtime and its execution providers."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from segdeploy.backends.base import Batch, NetworkOutput, card_of, check_batch
from segdeploy.backends.onnx_metadata import read_texts
from segdeploy.card import ModelCard
from segdeploy.errors import DeviceError, ModelError
from segdeploy.system.machine import cores

CPU = "CPUExecutionProvider"


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One kind of device.

    Attributes:
        name: What ONNX Runtime calls it.
        package: The build of ONNX Runtime that has it.
        needs: What else must be on the machine.
        numbered: Whether there may be several, told by a number.
        options: What it is asked for.
    """

    name: str
    package: str
    needs: str
    numbered: bool
    options: Mapping[str, str]


# Trying every algorithm for every convolution takes seconds a size; the heuristic loses little.
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}

PROVIDERS: Mapping[str, Provider] = {
    "cuda": Provider(
        name="CUDAExecutionProvider",
        package="onnxruntime-gpu",
        needs="an NVIDIA driver, CUDA and cuDNN (pip install 'onnxruntime-gpu[cuda,cudnn]')",
        numbered=True,
        options=CUDA_OPTIONS,
    ),
    "tensorrt": Provider(
        name="TensorrtExecutionProvider",
        package="onnxruntime-gpu",
        needs="an NVIDIA driver, CUDA, cuDNN and TensorRT (pip install tensorrt)",
        numbered=True,
        # Building an engine takes minutes; it is kept for the next run.
        options={
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": ".segdeploy-tensorrt",
            "trt_timing_cache_enable": "1",
        },
    ),
    "openvino": Provider(
        name="OpenVINOExecutionProvider",
        package="onnxruntime-openvino",
        needs="nothing else",
        numbered=False,
        options={"device_type": "AUTO"},
    ),
    "coreml": Provider(
        name="CoreMLExecutionProvider",
        package="onnxruntime (macOS)",
        needs="macOS 12 or newer",
        numbered=False,
        options={},
    ),
    "directml": Provider(
        name="DmlExecutionProvider",
        package="onnxruntime-directml",
        needs="Windows 10 or newer and a DirectX 12 device",
        numbered=True,
        options={},
    ),
}
"""Providers by the names that `--device` takes, best first for who leaves the choice."""

AUTOMATIC = ("cuda",)
"""What `auto` asks for before the processor; what takes minutes to build an engine, or rounds in
its own way, is taken by name only."""

Request = list[str | tuple[str, Mapping[str, str]]]


def request(device: str) -> Request:
    """Name what to ask ONNX Runtime for, best first.

    Args:
        device: "auto", "cpu", or a name of `PROVIDERS`, with ":n" behind it where there may be
            several.

    Raises:
        DeviceError: There is no device of that name, or this ONNX Runtime was built without it.
    """
    available = onnxruntime.get_available_providers()
    if device == "cpu":
        return [CPU]
    if device == "auto":
        return [*(asked(name, "0") for name in AUTOMATIC if PROVIDERS[name].name in available), CPU]
    kind, colon, number = device.partition(":")
    provider = PROVIDERS.get(kind)
    if provider is None or (colon and not (provider.numbered and number.isdecimal())):
        msg = (
            f"there is no device {device!r}; choose auto, cpu, {', '.join(PROVIDERS)}, and cuda:1"
            " for the second one"
        )
        raise DeviceError(msg)
    if provider.name not in available:
        lacks = f"the device {device!r} was asked for and this ONNX Runtime has no {provider.name}"
        msg = f"{lacks}; install {provider.package}, or choose cpu or auto"
        raise DeviceError(msg)
    return [asked(kind, number or "0"), CPU]


def asked(kind: str, number: str) -> tuple[str, Mapping[str, str]]:
    """Return a provider's name with its options."""
    provider = PROVIDERS[kind]
    return provider.name, {
        **provider.options,
        **({"device_id": number} if provider.numbered else {}),
    }


def check_granted(device: str, granted: Sequence[str]) -> None:
    """Refuse a session that runs on something else than was asked for.

    Args:
        device: What was asked for, as `request` takes it.
        granted: The session's providers.

    Raises:
        DeviceError: ONNX Runtime took another one without a word.
    """
    provider = PROVIDERS.get(device.partition(":")[0])
    if provider is not None and provider.name not in granted:
        msg = (
            f"the device {device!r} was asked for and ONNX Runtime granted {granted[0]}; it needs"
            f" {provider.needs}; see 'segdeploy doctor'"
        )
        raise DeviceError(msg)


INPUT = "image"
CONFIDENCE = "confidence"

Place = tuple[str, int]
"""A device's memory, as ONNX Runtime names it: a kind and a number."""

ON_CUDA = ("CUDAExecutionProvider", "TensorrtExecutionProvider")

FATAL = 4
"""Level of ONNX Runtime's own log: what it says below that, our exceptions say in one sentence."""

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
"""What a session raises on a file that it cannot use; the last where a damaged name stands in its
message."""


class OnnxBackend:
    """A session of ONNX Runtime."""

    def __init__(
        self, session: onnxruntime.InferenceSession, card: ModelCard, *, place: Place | None = None
    ) -> None:
        """Wrap a session.

        Args:
            session: Its input and output are those of the contract: `image`, and what the card's
                output says.
            card: What it is.
            place: A device's memory, in which images and answers are kept from call to call; None
                where the session takes them from ours.
        """
        self._session = session
        self._card = card
        self._place = place
        self._own = threading.local()
        self._one_by_one = session.get_inputs()[0].shape[0] == 1

    @property
    def card(self) -> ModelCard:
        """The card that the file carries."""
        return self._card

    @property
    def device(self) -> str:
        """For example "onnxruntime CPUExecutionProvider": the first provider that was granted."""
        return f"onnxruntime {self._session.get_providers()[0]}"

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer (N, H, W, 3) uint8 RGB images with (N, K, h, w) float32 logits, or what the card says."""
        check_batch(batch, self._card)
        images = np.ascontiguousarray(batch)
        # An adopted file may take one image at a time only.
        parts = np.split(images, len(images)) if self._one_by_one and len(images) > 1 else [images]
        answers: list[Any] = [
            self._answer(part) if self._place is None else self._answer_bound(part, self._place)
            for part in parts
        ]
        answer: NetworkOutput = answers[0] if len(answers) == 1 else np.concatenate(answers)
        return answer

    def _answer(self, images: Batch) -> NetworkOutput:
        answer: NetworkOutput = self._session.run([self._card.output], {INPUT: images})[0]
        return answer

    def _answer_bound(self, images: Batch, place: Place) -> NetworkOutput:
        """Answer by way of tensors on the device, which each thread has of its own, for as long as the batch's shape is the same."""
        own = self._own
        if getattr(own, "shape", None) != images.shape:
            own.images = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                images.shape, np.uint8, *place
            )
            own.binding = self._session.io_binding()
            own.binding.bind_ortvalue_input(INPUT, own.images)
            own.binding.bind_output(self._card.output, *place)
            own.shape = images.shape
        own.images.update_inplace(images)
        self._session.run_with_iobinding(own.binding)
        # Ours for good: what the binding holds is written over by the next call.
        answer: NetworkOutput = np.array(own.binding.copy_outputs_to_cpu()[0])
        return answer


def load(
    path: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = True,
    callers: int = 1,  # noqa: ARG001 - a session takes any number
) -> OnnxBackend:
    """Load an ONNX file.

    Args:
        path: What `segdeploy export --format onnx` wrote.
        device: "auto", "cpu", or one of `PROVIDERS` with its number, as in "cuda:1".
        threads: Threads of one operation; all allowed cores where None.
        spinning: Whether idle threads keep their core busy: quicker alone, slower as soon as others
            need the cores.
        callers: How many threads will call `run` at the same time, each with `threads` of its own.

    Raises:
        ModelError: The file is missing, damaged, no ONNX file, or not one that answers what its
            card says.
        CardError: It carries no usable card.
        DeviceError: The device was asked for and not granted.
    """
    card = card_of(read_texts(path), source=str(path))
    options = _options(threads or cores(), spinning=spinning)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=request(device))
    except FAILURES as error:
        reason = " ".join(str(error).split())[:200]
        if device != "cpu" and _runs_on_processor(path):
            msg = (
                f"the device {device!r} cannot run {path} ({reason}); see 'segdeploy doctor', or"
                " choose cpu"
            )
            raise DeviceError(msg) from error
        version = onnxruntime.__version__
        msg = (
            f"{path} is nothing that ONNX Runtime {version} runs ({reason}); export it again, with"
            " an older --opset if need be"
        )
        raise ModelError(msg) from error
    session.disable_fallback()
    check_granted(device, session.get_providers())
    _check_session(session, card, path)
    return OnnxBackend(session, card, place=place_of(session.get_provider_options()))


def place_of(granted: Mapping[str, Mapping[str, str]]) -> Place | None:
    """Return the memory of NVIDIA's device where a session runs on one.

    Each copy in or out would otherwise find itself new memory there.

    Args:
        granted: Options of the session's providers by their names, the first one first.
    """
    first, options = next(iter(granted.items()))
    return ("cuda", int(options.get("device_id", 0))) if first in ON_CUDA else None


def _runs_on_processor(path: Path) -> bool:
    """Return whether it is the device, and not the file, of which a session cannot be made."""
    try:
        onnxruntime.InferenceSession(str(path), _options(1, spinning=False), providers=[CPU])
    except FAILURES:
        return False
    return True


def _options(threads: int, *, spinning: bool) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return options


def _check_session(session: onnxruntime.InferenceSession, card: ModelCard, path: Path) -> None:
    """Refuse a graph whose input or output is not what its card tells."""
    spec = card.input
    height, width = (None, None) if spec.dynamic else (spec.height, spec.width)
    taken = [
        (value.name, value.type, [side if isinstance(side, int) else None for side in value.shape])
        for value in session.get_inputs()
    ]
    given = [
        (value.name, value.type, value.shape[1] if len(value.shape) == 4 else None)
        for value in session.get_outputs()
    ]
    takes = [[(INPUT, "tensor(uint8)", [images, height, width, 3])] for images in (None, 1)]
    if taken not in takes or given != _outputs(card):
        msg = (
            f"{path} takes {taken} and answers {given}, and its card tells otherwise; export it"
            " again"
        )
        raise ModelError(msg)


def _outputs(card: ModelCard) -> list[tuple[str, str, int | None]]:
    """Return name, type and number of planes of each output of a file with this card.

    Classes have no planes.
    """
    if card.output != "classes":
        return [(card.output, "tensor(float)", len(card.classes))]
    names = ["classes", CONFIDENCE] if card.confidence else ["classes"]
    return [(name, "tensor(uint8)", None) for name in names]


# One Identity from x to y, both float32 of shape [1]: fields as in onnx.proto, each with its
# number, kind and length, written by hand.
_VALUE = b"\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01"
_GRAPH = (
    b"\x0a\x10\x0a\x01x\x12\x01y\x22\x08Identity\x12\x01g\x5a\x0f\x0a\x01x"
    + _VALUE
    + b"\x62\x0f\x0a\x01y"
    + _VALUE
)
_IDENTITY = b"\x08\x08\x42\x02\x10\x11\x3a\x37" + _GRAPH


def granted_providers() -> Mapping[str, bool]:
    """Ask a session on a tiny model for each provider of this build, best first, and tell which it grants.

    What a build holds says little: without its driver's libraries a provider is listed, and not
    granted.
    """
    found = {}
    for provider in onnxruntime.get_available_providers():
        try:
            session = onnxruntime.InferenceSession(
                _IDENTITY, _options(1, spinning=False), providers=[provider]
            )
            found[provider] = provider in session.get_providers()
        except FAILURES:
            found[provider] = False
    return found
