"""Capture of a network by torch.export, and the output heads of exported files."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from msgspec.structs import replace
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from segdeploy.card import ModelCard
from segdeploy.errors import ExportError
from segdeploy.inference.self_test import built_in_batch
from segdeploy.models.blocks import upsample_logits
from segdeploy.models.deployed import Deployed

from .divergence import module_of


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the warnings and log messages of an exporter."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


MIN_DYNAMIC_SIDE = 513
"""Smallest side of the example image, in pixels, that a dynamic network is captured with.

torch.export treats a dimension of size 1 in its example as a constant, without a warning. The
coarsest features of the networks here have a stride of up to 64, of which context modules take an
eighth; with 513 pixels these still have two rows.
"""


def capture(network: Deployed, card: ModelCard) -> ExportedProgram:
    """Capture a network as a graph of PyTorch's operators.

    The number of images is dynamic; height and width are the card's, or dynamic if it says so.

    Args:
        network: In evaluation mode, on the CPU; it returns what the card says.
        card: Card of the file.

    Raises:
        ExportError: PyTorch cannot capture it, or not for all sizes.
    """
    spec = card.input
    least = -(-MIN_DYNAMIC_SIDE // spec.stride) * spec.stride if spec.dynamic else 0
    size = {"height": max(spec.height, least), "width": max(spec.width, least)}
    image = torch.from_numpy(built_in_batch(replace(spec, **size)))
    # Two images, since sizes of 0 and 1 are treated as constants.
    example = image.repeat(2, 1, 1, 1)
    # A named Dim must be valid down to 0, which downsampling never is; DYNAMIC still refuses a
    # size that becomes a constant.
    dynamic = dict.fromkeys((0, 1, 2) if spec.dynamic else (0,), Dim.DYNAMIC)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(network, (example,), dynamic_shapes={"image": dynamic})
    # torch.export raises whatever the network's own code raises.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        msg = (
            f"{card.architecture} cannot be captured by torch.export: {reason}; choose --format"
            " torchscript or another network"
        )
        raise ExportError(msg) from error
    bounds = [limit.upper for limit in program.range_constraints.values() if limit.upper.is_Integer]
    if bounds:
        msg = (
            f"{card.architecture} was captured for up to {min(bounds)} images or pixels a side"
            " only; leave out --dynamic, or choose another network"
        )
        raise ExportError(msg)
    return program


def frozen_operator(network: Deployed, card: ModelCard) -> str:
    """Return a description of the first operator that keeps the size of the captured example.

    It is found by capturing the network with a larger example.

    Args:
        network: In evaluation mode, on the CPU.
        card: Card of a dynamic file.

    Returns:
        The operator and the layer that calls it; "" where there is none.
    """
    spec = card.input
    sides = (max(side, MIN_DYNAMIC_SIDE) + 8 * spec.stride for side in (spec.height, spec.width))
    height, width = (side // spec.stride * spec.stride for side in sides)
    larger = replace(card, input=replace(spec, height=height, width=width))
    programs = (capture(network, card), capture(network, larger))
    for node, other in zip(*(program.graph.nodes for program in programs), strict=False):
        if str((node.target, node.args, node.kwargs)) != str(
            (other.target, other.args, other.kwargs)
        ):
            return f"{node.target} in the layer {module_of(node) or card.architecture}"
    return ""


def with_output(network: Deployed, card: ModelCard) -> Deployed:
    """Return a network with the same weights that returns what the card says.

    Args:
        network: Returns logits; in evaluation mode.
        card: Its output, and the input that the network was built with.
    """
    heads = {
        ("classes", False): ClassOutput,
        ("classes", True): ClassAndConfidenceOutput,
        ("probabilities", False): ProbabilityOutput,
    }
    head = heads.get((card.output, card.confidence))
    return head.of(network.network, card).eval() if head else network


class ClassOutput(Deployed):
    """A network that returns the class of every pixel, for runtimes without our postprocessing.

    Logits are upsampled before the argmax, exactly as `segdeploy.imaging.postprocess.to_mask` does.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, H, W) uint8 classes of (N, H, W, 3) uint8 images, the first of equal ones."""
        return _upsample(super().forward(image), image).argmax(1).to(torch.uint8)


class ClassAndConfidenceOutput(Deployed):
    """A network that returns classes, and the probability of each.

    The probability is the softmax of the upsampled logits as uint8, 255 for 1: a quarter of the
    bytes of float32, and finer than a network is calibrated.
    """

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return (N, H, W) uint8 classes and confidences of (N, H, W, 3) uint8 images."""
        logits = _upsample(super().forward(image), image)
        confidence = functional.softmax(logits, dim=1).amax(1)
        return logits.argmax(1).to(torch.uint8), (confidence * 255).round().to(torch.uint8)


class ProbabilityOutput(Deployed):
    """A network that returns the probability of every class in every pixel.

    They stay float32: in 8 bits, and often in 16, the best two classes near a boundary become
    equal, and labels change.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, K, H, W) float32 probabilities of (N, H, W, 3) uint8 images."""
        return functional.softmax(_upsample(super().forward(image), image), dim=1)


def _upsample(logits: Tensor, image: Tensor) -> Tensor:
    """Return (N, K, h, w) logits at the size of (N, H, W, 3) images."""
    return upsample_logits(logits, image.shape[1], width=image.shape[2])
