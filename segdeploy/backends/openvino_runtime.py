"""OpenVINO: the fastest runtime of Intel's and AMD's processors, and the only one here that computes in bfloat16 without a calibration."""

from pathlib import Path
from threading import local

import numpy as np
import openvino

from segdeploy.backends.base import Batch, NetworkOutput, card_of, check_batch
from segdeploy.backends.openvino_metadata import read_texts, weights_of
from segdeploy.card import ModelCard
from segdeploy.errors import DeviceError, ModelError
from segdeploy.system.machine import cores

INPUT = "image"
CONFIDENCE = "confidence"

HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "bf16"}
"""Kind of numbers that the runtime is asked for, by the file's precision; of int8, for what is not
in 8 bits. Without it, it takes f32."""


class OpenVinoBackend:
    """A compiled model of OpenVINO."""

    def __init__(self, compiled: openvino.CompiledModel, card: ModelCard, *, device: str) -> None:
        """Wrap a compiled model.

        Args:
            compiled: Its input and outputs are those of the contract.
            card: What it is.
            device: Name of OpenVINO's device.
        """
        self._compiled = compiled
        # A request works for one thread at a time.
        self._own = local()
        self._card = card
        self._device = device

    @property
    def card(self) -> ModelCard:
        """The card that the file carries."""
        return self._card

    @property
    def device(self) -> str:
        """For example "openvino CPU f32": the device, and the kind of numbers that it granted."""
        return (
            f"openvino {self._device}"
            f" {self._compiled.get_property('INFERENCE_PRECISION_HINT').to_string()}"
        )

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer (N, H, W, 3) uint8 RGB images with (N, K, h, w) float32 logits, or what the card says."""
        check_batch(batch, self._card)
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        answers = self._own.request.infer({INPUT: np.ascontiguousarray(batch)})
        answer: NetworkOutput = np.ascontiguousarray(answers[self._card.output])
        return answer


def load(
    path: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = True,  # noqa: ARG001 - OpenVINO's threads do not spin
    callers: int = 1,
) -> OpenVinoBackend:
    """Load an OpenVINO file.

    Args:
        path: What `segdeploy export --format openvino` wrote: the graph; its weights lie beside it.
        device: "auto", "cpu", "gpu" or "gpu.n" (of Intel), or "npu".
        threads: Threads of the network; all allowed cores where None.
        spinning: Only ONNX Runtime's threads spin.
        callers: How many threads will call `run` at the same time, each with `threads` of its own.

    Raises:
        ModelError: The file is missing, damaged, no OpenVINO file, or not one that answers what its
            card says.
        CardError: It carries no usable card.
        DeviceError: The device is not there.
    """
    card = card_of(read_texts(path), source=str(path))
    core = openvino.Core()
    chosen = _device(core, device)
    settings = {
        "INFERENCE_PRECISION_HINT": HINTS.get(card.precision, "f32"),
        "PERFORMANCE_HINT": "LATENCY",
    }
    if chosen == "CPU":
        settings["INFERENCE_NUM_THREADS"] = str((threads or cores()) * callers)
        settings["NUM_STREAMS"] = str(callers)
    try:
        # As bytes: of a path OpenVINO wants the ending .xml, which a file has only once it is
        # proven.
        model = core.read_model(model=path.read_bytes(), weights=weights_of(path).read_bytes())
        _check_model(model, card, path)
        compiled = core.compile_model(model, chosen, settings)
    # OpenVINO raises RuntimeError for all that its C++ refuses.
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        msg = (
            f"{path} is nothing that OpenVINO {openvino.__version__} runs ({reason}); export it"
            " again"
        )
        raise ModelError(msg) from error
    return OpenVinoBackend(compiled, card, device=chosen)


def _device(core: openvino.Core, name: str) -> str:
    """Name a device as OpenVINO does.

    Raises:
        DeviceError: It is not there, or there is none of that name.
    """
    wanted = "CPU" if name == "auto" else name.upper()
    known = core.available_devices
    if wanted not in known and not (wanted == "GPU" and "GPU.0" in known):
        msg = (
            f"the device {name!r} was asked for and OpenVINO has {', '.join(known).lower()}; choose"
            " another, or auto"
        )
        raise DeviceError(msg)
    return wanted


def _check_model(model: openvino.Model, card: ModelCard, path: Path) -> None:
    """Refuse a graph whose input or output is not what its card tells."""
    spec = card.input
    sides = [-1, -1, -1, 3] if spec.dynamic else [-1, spec.height, spec.width, 3]
    taken, given = (
        [_described(port) for port in model.inputs],
        [_described(port) for port in model.outputs],
    )
    fits = taken == [(INPUT, "u8", sides)] and [
        (name, kind) for name, kind, _ in given
    ] == _outputs(card)
    if not fits or (card.output != "classes" and given[0][2][1:2] != [len(card.classes)]):
        msg = (
            f"{path} takes {taken} and answers {given}, and its card tells otherwise; export it"
            " again"
        )
        raise ModelError(msg)


def _described(port: openvino.Output) -> tuple[str, str, list[int]]:
    """Return name, type and sides of an input or output; a free side is -1."""
    sides = [side.get_length() if side.is_static else -1 for side in port.get_partial_shape()]
    return port.get_any_name(), port.get_element_type().get_type_name(), sides


def _outputs(card: ModelCard) -> list[tuple[str, str]]:
    """Return name and type of each output of a file with this card."""
    if card.output != "classes":
        return [(card.output, "f32")]
    return [("classes", "u8"), (CONFIDENCE, "u8")] if card.confidence else [("classes", "u8")]
