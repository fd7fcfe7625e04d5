"""ncnn: a small runtime for phones and boards; here it runs on the CPU."""

import re
from pathlib import Path
from typing import Any

import ncnn
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import (
    RuntimeOptions,
    card_from_metadata,
    check_batch,
    check_output,
    companion_of,
)
from segdeploy.backends.sidecar import WEIGHTS, check_unchanged, read_metadata
from segdeploy.card import ModelCard
from segdeploy.errors import DeviceError, ModelError
from segdeploy.system.budget import read_within
from segdeploy.system.machine import cores

INPUT, OUTPUT = "in0", "out0"
"""Names that pnnx gives to the input and the output."""

MAGIC = b"7767517"
"""First line of a graph."""

MAX_BYTES = 16 << 20
"""Largest size of a graph without its weights, in bytes."""

HALF = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
)
"""Options of ncnn that compute in half precision; they are on unless they are switched off."""


class NcnnBackend:
    """A network of ncnn."""

    def __init__(self, net: ncnn.Net, card: ModelCard, *, source: str) -> None:
        """Wrap a network.

        Args:
            net: Threads may call it at the same time.
            card: Its card.
            source: Name of the file, for messages.
        """
        self._net = net
        self._card = card
        self._source = source

    @property
    def card(self) -> ModelCard:
        """Return the card beside the file."""
        return self._card

    @property
    def device(self) -> str:
        """Return the device, and the precision that it computes in."""
        has_half = ncnn.cpu_support_arm_asimdhp() and self._card.precision == "fp16"
        return f"ncnn CPU {'f16' if has_half else 'f32'}"

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output for (N, H, W, 3) uint8 RGB images; see `Backend.run`.

        Raises:
            ConfigError: The card does not allow the batch.
            ModelError: ncnn cannot run the file, or its output contradicts the card.
        """
        check_batch(batch, self._card)
        output = np.stack([self._run(image) for image in batch])
        check_output(output, batch, self._card, source=self._source)
        return output

    def _run(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        # ncnn has no integers: the graph takes channels first in float32.
        planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
        with self._net.create_extractor() as extractor:
            extractor.input(INPUT, ncnn.Mat(planes))
            code, output = extractor.extract(OUTPUT)
            if code != 0:
                msg = f"ncnn cannot run {self._source} (code {code}); export it again"
                raise ModelError(msg)
            return np.array(output)


def load(path: Path, options: RuntimeOptions) -> NcnnBackend:
    """Load a graph that `segdeploy export --format ncnn` wrote; weights and metadata lie beside it.

    Args:
        path: The graph, a text.
        options: The device is "auto" or "cpu".

    Raises:
        ModelError: A file is missing, damaged, not of one export with the others, or contradicts
            its card.
        CardError: It has no usable card.
        DeviceError: The device is not the CPU.
    """
    metadata = read_metadata(path)
    card = card_from_metadata(metadata, source=str(path))
    if options.device not in ("auto", "cpu"):
        msg = f"the device {options.device!r} is not available: ncnn runs on the cpu here"
        raise DeviceError(msg)
    if not options.trust:
        check_unchanged(path, metadata)
    _check_counts(path)
    net = ncnn.Net()
    net.opt.num_threads = options.threads or cores()
    net.opt.use_vulkan_compute = False
    if card.precision != "fp16":
        for name in HALF:
            setattr(net.opt, name, False)
    weights = companion_of(path, WEIGHTS[".param"])
    if net.load_param(str(path)) != 0 or net.load_model(str(weights)) != 0:
        msg = f"ncnn cannot load {path} with {weights.name}; export it again"
        raise ModelError(msg)
    names = (list(net.input_names()), list(net.output_names()))
    if names != ([INPUT], [OUTPUT]):
        msg = (
            f"{path} takes {names[0]} and returns {names[1]}, not {INPUT} and {OUTPUT}; export it"
            " again"
        )
        raise ModelError(msg)
    return NcnnBackend(net, card, source=str(path))


def _check_counts(path: Path) -> None:
    """Refuse a graph that declares another number of layers than it has, or too many tensors.

    ncnn takes memory for what is declared.

    Raises:
        ModelError: It does, or is no graph.
    """
    with path.open("rb") as file:
        content, size = read_within(file, MAX_BYTES)
    lines = content.splitlines()
    declared = re.fullmatch(rb"(\d{1,7}) (\d{1,7})", lines[1]) if len(lines) > 1 else None
    if size > MAX_BYTES or declared is None or lines[0] != MAGIC:
        msg = f"{path} is not an ncnn graph; name one that 'segdeploy export --format ncnn' wrote"
        raise ModelError(msg)
    layers, tensors = int(declared[1]), int(declared[2])
    if layers != len(lines) - 2 or tensors > len(content):
        msg = (
            f"{path} declares {layers} layers with {tensors} tensors and has {len(lines) - 2}"
            " layers; export it again"
        )
        raise ModelError(msg)
