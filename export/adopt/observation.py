"""What a network does on real images that its users should know before they rely on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segdeploy.arrays import NetworkOutput
from segdeploy.backends.base import Backend
from segdeploy.datasets.dataset import evenly_spaced
from segdeploy.errors import ModelError
from segdeploy.imaging.postprocess import output_to_mask
from segdeploy.imaging.preprocess import to_batch

from ..proof import ProofImages

IMAGES = 8
"""Images that a network is observed on."""

HALF_LIMIT = 65504.0
"""Largest number in float16."""

SHOWN = 5
"""Number of classes that a warning names."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen on some images.

    Attributes:
        outputs: Output for each image.
        pixels: Number of pixels of each class over all masks.
        source: Where the images come from.
    """

    outputs: Sequence[NetworkOutput]
    pixels: Sequence[int]
    source: str


def observe(backend: Backend, images: ProofImages, *, name: object) -> Observation:
    """Run a network on some images.

    Args:
        backend: The network.
        images: The images.
        name: Its file, for the message.

    Raises:
        ModelError: It returns something else than numbers.
    """
    spec = backend.card.input
    counts = np.zeros(256, np.int64)
    outputs = []
    for index in evenly_spaced(len(images), IMAGES):
        image, _ = images[index]
        output = backend.run(to_batch([image], spec))
        if not np.isfinite(output).all():
            msg = (
                f"{name} returns NaN or infinity for an image of {images.source}; check --mean,"
                " --std and --range, or its weights"
            )
            raise ModelError(msg)
        mask = output_to_mask(output, spec, height=image.shape[0], width=image.shape[1])
        counts += np.bincount(mask.ravel(), minlength=256)
        outputs.append(output)
    pixels = counts[: len(backend.card.classes)].tolist()
    return Observation(outputs=outputs, pixels=pixels, source=images.source)


def warnings(seen: Observation, backend: Backend, *, is_score: bool = False) -> list[str]:
    """Return a sentence for everything that looks wrong.

    Args:
        seen: What was observed.
        backend: The network.
        is_score: Whether it returns scores in [0, 1] by design.
    """
    card, count = backend.card, len(seen.outputs)
    where = f"on {count} images of {seen.source}"
    first, *others = seen.outputs
    winning = [
        entry.name for entry, pixels in zip(card.classes, seen.pixels, strict=True) if pixels
    ]
    found = []
    if others and all(np.array_equal(first, other) for other in others):
        found.append(f"its output is the same for all {count} images of {seen.source}")
    elif len(winning) == 1:
        found.append(f"every pixel {where} is {winning[0]!r}")
    elif len(winning) < len(card.classes):
        losing = [entry.name for entry in card.classes if entry.name not in winning]
        more = f" and {len(losing) - SHOWN} more" if len(losing) > SHOWN else ""
        found.append(f"no pixel {where} is {', '.join(losing[:SHOWN])}{more}")
    if card.output != "classes":
        lowest = min(float(output.min()) for output in seen.outputs)
        highest = max(float(output.max()) for output in seen.outputs)
        if card.output == "logits" and not is_score:
            found += _range_warnings(lowest, highest)
    return found


def _range_warnings(lowest: float, highest: float) -> list[str]:
    """Return what the smallest and the largest logit give away."""
    found = []
    if 0 <= lowest < highest <= 1:
        found.append(
            f"its values lie in {lowest:.2g} to {highest:.2g}, as probabilities do, and are taken"
            " for logits: if they are, the confidence is wrong; say --answers probabilities or"
            " sigmoid"
        )
    if max(-lowest, highest) > HALF_LIMIT / 2:
        found.append(
            f"its logits reach {max(-lowest, highest):.3g}, which float16 can hardly hold; export"
            " it in fp32"
        )
    return found
