"""torch.export with the chosen output head."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from segdeploy.card import ModelCard
from segdeploy.errors import ExportError
from segdeploy.inference.self_test import built_in_image
from segdeploy.models.deployed import Deployed


@contextmanager
def quiet() -> Iterator[None]:
    """Keep an exporter's remarks on its own inner life from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


LEAST = 513
"""Pixels of a side that is captured as free, at least: the coarsest values here, an eighth of a 64th of it, are two then.

torch.export takes a side of one value for always one, and what is computed from it for a constant,
without a word.
"""


def capture(network: Deployed, card: ModelCard) -> ExportedProgram:
    """Capture a network; the number of images is free, height and width are the card's, and free where it says dynamic.

    Args:
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.

    Raises:
        ExportError: PyTorch cannot capture it, or not for all sizes.
    """
    spec = card.input
    least = -(-LEAST // spec.stride) * spec.stride if spec.dynamic else 0
    # Sizes of 0 and 1 are taken for constants.
    example = torch.from_numpy(
        built_in_image(max(spec.height, least), max(spec.width, least))
    ).repeat(2, 1, 1, 1)
    # A named Dim must hold down to 0, which halving never does; DYNAMIC still refuses a size that
    # is frozen.
    free = dict.fromkeys((0, 1, 2) if spec.dynamic else (0,), Dim.DYNAMIC)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(network, (example,), dynamic_shapes={"image": free})
    # torch.export raises whatever the network's code does under it.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        msg = (
            f"{card.architecture} cannot be captured by torch.export: {reason}; choose --format"
            " torchscript or another network"
        )
        raise ExportError(msg) from error
    bounds = [limit.upper for limit in program.range_constraints.values() if limit.upper.is_Integer]
    if bounds:
        found = (
            f"{card.architecture} was captured for up to {min(bounds)} images or pixels a side only"
        )
        msg = f"{found}; leave out --dynamic, or choose another network"
        raise ExportError(msg)
    return program


def with_output(network: Deployed, card: ModelCard) -> Deployed:
    """Return a network, with the same weights, that answers what the card says.

    Args:
        network: Answers logits, in evaluation mode.
        card: Its output and its input, with the mean and the deviation that the network was made
            with.
    """
    heads = {
        ("classes", False): Classes,
        ("classes", True): SureClasses,
        ("probabilities", False): Probabilities,
    }
    head = heads.get((card.output, card.confidence))
    return head(network.network, card.input.mean, card.input.std).eval() if head else network


class Classes(Deployed):
    """The class of every pixel of the network's input, for runtimes that shall not enlarge logits themselves.

    The logits are enlarged before the best class is taken, exactly as
    `segdeploy.imaging.postprocess.to_mask` does it.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Answer (N, H, W, 3) uint8 images with (N, H, W) uint8 classes, the first of equally good ones."""
        return enlarged(super().forward(image), image).argmax(1).to(torch.uint8)


class SureClasses(Deployed):
    """Classes, and the probability of each, by the softmax of the enlarged logits.

    The probability is uint8, 255 for certainty: a quarter of float32's bytes, and as fine as a
    network knows itself.
    """

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Answer (N, H, W, 3) uint8 images with (N, H, W) uint8 classes and (N, H, W) uint8 confidences."""
        logits = enlarged(super().forward(image), image)
        certainty = functional.softmax(logits, dim=1).amax(1)
        return logits.argmax(1).to(torch.uint8), (certainty * 255).round().to(torch.uint8)


class Probabilities(Deployed):
    """The probability of every class in every pixel.

    They stay float32: in 8 bits, and often in 16, the best two classes near a boundary become
    equal, and labels change.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Answer (N, H, W, 3) uint8 images with (N, K, H, W) float32 probabilities, which sum to 1 over the classes."""
        return functional.softmax(enlarged(super().forward(image), image), dim=1)


def enlarged(logits: Tensor, image: Tensor) -> Tensor:
    """Bring (N, K, h, w) logits to the size of (N, H, W, 3) images."""
    return functional.interpolate(
        logits, size=(image.shape[1], image.shape[2]), mode="bilinear", align_corners=False
    )
