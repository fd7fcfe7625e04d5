"""How wrong an answer is, as a number to make small; pixels that are not labelled never count."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from segdeploy.scores import IGNORED

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes logits (N, K, H, W) and masks (N, H, W) uint8, and gives one number that is 0 where nothing is labelled."""


def cross_entropy(logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Give the mean cross entropy of the labelled pixels, each as heavy as its class: `weights` is (K,), None for all alike."""
    total = functional.cross_entropy(logits, masks.long(), weight=weights, ignore_index=IGNORED, reduction="sum")
    labelled = masks != IGNORED
    if weights is None:
        return total / labelled.sum().clamp(min=1)
    heavy = weights[masks.long().masked_fill(~labelled, 0)] * labelled
    return total / heavy.sum().clamp(min=1e-6)


def dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Give 1 minus the Dice coefficient of probabilities and truth, as the mean over the classes that occur in the batch.

    Each class weighs the same however few pixels it has, as in mIoU (Milletari et al., V-Net, 3DV 2016, section 3).
    """
    labelled = (masks != IGNORED).unsqueeze(1)
    truth = torch.zeros_like(logits, dtype=torch.float32)
    truth.scatter_(1, masks.long().unsqueeze(1).masked_fill(~labelled, 0), labelled.float())
    chance = logits.float().softmax(1) * labelled
    both = (chance * truth).sum((0, 2, 3))
    pixels = truth.sum((0, 2, 3))
    either = chance.sum((0, 2, 3)) + pixels
    occurs = pixels > 0
    missed = torch.where(occurs, 1 - 2 * both / either.clamp(min=1e-6), torch.zeros_like(both))
    return missed.sum() / occurs.sum().clamp(min=1)


def make_loss(names: str, weights: Tensor | None = None) -> Loss:
    """Make the sum of losses; logits of a lower size are enlarged to the masks' first, as in use.

    Args:
        names: "ce", "dice", or both with + between them.
        weights: What each class weighs in the cross entropy, (K,); None for all alike.
    """
    known: Mapping[str, Loss] = {"ce": partial(cross_entropy, weights=weights), "dice": dice}
    parts = [known[name] for name in names.split("+")]

    def loss(logits: Tensor, masks: Tensor) -> Tensor:
        if logits.shape[2:] != masks.shape[1:]:
            logits = functional.interpolate(logits, size=masks.shape[1:], mode="bilinear", align_corners=False)
        return torch.stack([part(logits, masks) for part in parts]).sum()

    return loss
