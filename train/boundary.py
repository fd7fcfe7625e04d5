"""Where classes meet: the two losses of an auxiliary head that finds boundaries, as PIDNet (Xu et al., CVPR 2023) has one."""

import torch
from torch import Tensor
from torch.nn import functional

from segdeploy.scores import IGNORED

REACH = 2
"""How far from another class a pixel still belongs to the boundary, in pixels: the authors' code widens their edges to four."""

WEIGHT = 20.0
"""What the loss weighs beside that of the main answer, as the paper has it."""

SURE = 0.8
"""A head is sure of what it gives a larger probability of being near another class: t in section 3.4."""


def boundary(logits: Tensor, masks: Tensor) -> Tensor:
    """Give the binary cross entropy of logits (N, 1, H, W) of being near another class; both kinds of pixels weigh the same in sum.

    Boundaries are few: each of their pixels weighs as much as there are others, and the other way round.
    """
    labelled = masks != IGNORED
    truth = near_another(masks)
    pixels = labelled.sum().clamp(min=1)
    share = (truth & labelled).sum() / pixels
    weights = torch.where(truth, 1 - share, share) * labelled
    return functional.binary_cross_entropy_with_logits(logits[:, 0].float(), truth.float(), weight=weights, reduction="sum") / pixels


def where_sure(logits: Tensor, masks: Tensor) -> Tensor:
    """Give masks (N, H, W) of which only those pixels are labelled that logits (N, 1, H, W) are sure to be near another class.

    The cross entropy of the main answer on them is PIDNet's fourth loss, which lets detail and context agree where they are joined.
    """
    return masks.masked_fill(logits[:, 0].sigmoid() <= SURE, IGNORED)


def near_another(masks: Tensor) -> Tensor:
    """Tell of each pixel of masks (N, H, W) whether another class than its own lies within reach; what is not labelled is none."""
    labels = masks.float()[:, None]
    # The largest and the smallest label around; what is not labelled is neither.
    unlabelled = labels == IGNORED
    side = 2 * REACH + 1
    largest = functional.max_pool2d(labels.masked_fill(unlabelled, -1), side, 1, REACH)
    smallest = -functional.max_pool2d((-labels).masked_fill(unlabelled, -IGNORED), side, 1, REACH)
    return ((largest > smallest) & ~unlabelled)[:, 0]
