"""OpenVINO: the fastest runtime on Intel and AMD CPUs, and bfloat16 without calibration."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import (
    CONFIDENCE,
    INPUT,
    RuntimeOptions,
    card_from_metadata,
    check_batch,
    check_output,
)
from segdeploy.backends.openvino_metadata import check_pair, read_metadata, weights_of
from segdeploy.card import ModelCard
from segdeploy.errors import DeviceError, ModelError
from segdeploy.system.budget import VARIABLE
from segdeploy.system.machine import cores

OPENVINO_TYPES = {"uint8": "u8", "uint16": "u16", "float32": "f32"}
"""OpenVINO's names of the types of images."""

PRECISION_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "bf16"}
"""INFERENCE_PRECISION_HINT by the precision of the file; of an int8 file it holds for the operators
that are not quantized. Any other precision gets f32."""


FAILURES = (RuntimeError, ValueError, TypeError, IndexError, OverflowError, MemoryError)
"""What OpenVINO raises for a file that it cannot use or run: mostly a RuntimeError, and what stands
for other exceptions of C++."""


class OpenVinoBackend:
    """A compiled model of OpenVINO."""

    def __init__(
        self,
        compiled: openvino.CompiledModel,
        card: ModelCard,
        *,
        device: str,
        source: str = "the graph",
    ) -> None:
        """Wrap a compiled model.

        Args:
            compiled: Its input is called `image`, and its outputs as the card says.
            card: Card of the network.
            device: Name of OpenVINO's device.
            source: Name of the file, for messages.
        """
        self._source = source
        self._compiled = compiled
        # An infer request serves one thread at a time.
        self._local = threading.local()
        self._card = card
        self._device = device
        self._single_image = compiled.input(0).get_partial_shape()[0] == openvino.Dimension(1)

    @property
    def card(self) -> ModelCard:
        """Return the card that the file carries."""
        return self._card

    @property
    def device(self) -> str:
        """Return the device and the precision in use, for example "openvino CPU f32"."""
        precision = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        return f"openvino {self._device} {precision}"

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output for (N, H, W, 3) uint8 RGB images; see `Backend.run`.

        Raises:
            ConfigError: The card does not allow the batch.
            ModelError: OpenVINO cannot run the file, or its output contradicts the card.
        """
        check_batch(batch, self._card)
        # An adopted network may have a fixed batch size of one.
        if self._single_image and len(batch) > 1:
            parts: list[Any] = [self._run(part) for part in np.split(batch, len(batch))]
            output: NetworkOutput = np.concatenate(parts)
            return output
        return self._run(batch)

    def _run(self, batch: Batch) -> NetworkOutput:
        try:
            if not hasattr(self._local, "request"):
                self._local.request = self._compiled.create_infer_request()
            outputs = self._local.request.infer({INPUT: np.ascontiguousarray(batch)})
            output: NetworkOutput = np.ascontiguousarray(outputs[self._card.output])
        except FAILURES as error:
            raise _cannot_run(self._source, error) from error
        check_output(output, batch, self._card, source=str(self._source))
        return output


def load(path: Path, options: RuntimeOptions) -> OpenVinoBackend:
    """Load the graph that `segdeploy export --format openvino` wrote; its weights lie beside it.

    Args:
        path: The graph, an XML file.
        options: The device is "auto", "cpu", "gpu" or "gpu.n" (of Intel), or "npu".

    Raises:
        ModelError: The file is missing, damaged, not an OpenVINO file, not of one export with its
            weights, or contradicts its card.
        CardError: It has no usable card.
        DeviceError: The device is not available.
    """
    metadata = read_metadata(path)
    card = card_from_metadata(metadata, source=str(path))
    if not options.trust:
        check_pair(path, metadata)
    core = openvino.Core()
    device = _choose_device(core, options.device)
    settings = {
        "INFERENCE_PRECISION_HINT": PRECISION_HINTS.get(card.precision, "f32"),
        "PERFORMANCE_HINT": "LATENCY",
    }
    if device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = str((options.threads or cores()) * options.callers)
        settings["NUM_STREAMS"] = str(options.callers)
    try:
        # OpenVINO demands the suffix .xml of a path, which a file has only once it is proven; of
        # bytes it does not.
        model = core.read_model(model=path.read_bytes(), weights=weights_of(path).read_bytes())
        _check_model(model, card, path)
        compiled = core.compile_model(model, device, settings)
    except FAILURES as error:
        raise _cannot_run(str(path), error) from error
    return OpenVinoBackend(compiled, card, device=device, source=str(path))


def _cannot_run(source: str, error: Exception) -> ModelError:
    """Return what OpenVINO reports as one sentence."""
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        return ModelError(
            f"{source} takes more memory than it may; set {VARIABLE} to a larger size if you trust"
            " it"
        )
    reason = " ".join(str(error).split())[-200:]
    return ModelError(
        f"OpenVINO {openvino.__version__} cannot run {source} ({reason}); export it again"
    )


def _choose_device(core: openvino.Core, name: str) -> str:
    """Return OpenVINO's name of a device; "auto" is the CPU.

    Raises:
        DeviceError: There is no such device here.
    """
    device = "CPU" if name == "auto" else name.upper()
    available = core.available_devices
    # With several GPUs, "GPU" is the first one.
    if device not in available and not (device == "GPU" and "GPU.0" in available):
        msg = (
            f"the device {name!r} is not available: OpenVINO has {', '.join(available).lower()};"
            " choose another, or auto"
        )
        raise DeviceError(msg)
    return device


def _check_model(model: openvino.Model, card: ModelCard, path: Path) -> None:
    """Check that input and outputs of a graph are what its card says."""
    spec = card.input
    sides = [-1, -1] if spec.dynamic else [spec.height, spec.width]
    kind, channels = OPENVINO_TYPES[spec.dtype], len(spec.channels)
    allowed = [[(INPUT, kind, [images, *sides, channels])] for images in (-1, 1)]
    inputs = [_describe(port) for port in model.inputs]
    outputs = [_describe(port) for port in model.outputs]
    fits = inputs in allowed and [(name, dtype) for name, dtype, _ in outputs] == _expected_outputs(
        card
    )
    if not fits or (card.output != "classes" and outputs[0][2][1:2] != [len(card.classes)]):
        msg = (
            f"{path} takes {inputs} and returns {outputs}, which contradicts its card; export it"
            " again"
        )
        raise ModelError(msg)


def _describe(port: openvino.Output) -> tuple[str, str, list[int]]:
    """Return name, type and shape of an input or output; -1 stands for a dynamic dimension."""
    shape = [side.get_length() if side.is_static else -1 for side in port.get_partial_shape()]
    return port.get_any_name(), port.get_element_type().get_type_name(), shape


def _expected_outputs(card: ModelCard) -> list[tuple[str, str]]:
    """Return name and type of each output of a file with this card."""
    if card.output != "classes":
        return [(card.output, "f32")]
    return [("classes", "u8"), (CONFIDENCE, "u8")] if card.confidence else [("classes", "u8")]
