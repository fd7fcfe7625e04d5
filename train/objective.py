"""The weighted sum of losses that a run minimizes, and class weights."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.datasets.checks.statistics import inverse_log
from segdeploy.datasets.dataset import Dataset

from .losses import (
    WEIGHT,
    Loss,
    boundary,
    cross_entropy,
    dice,
    focal,
    lovasz,
    ohem,
    one_of_several,
    where_sure,
)
from .recipe import read_terms

Answer = Tensor | Sequence[Tensor]
"""What a network answers while it trains: logits (N, K, h, w), or several of them, the main answer
first."""


class Objective:
    """A loss for whatever a network answers."""

    def __init__(
        self,
        terms: str,
        *,
        aux_weight: float,
        weights: Tensor | None = None,
        unions: Sequence[Sequence[int]] = (),
    ) -> None:
        """Choose the losses.

        Args:
            terms: Names of losses with weights, for example "ce+dice".
            aux_weight: What the loss of each auxiliary head weighs beside that of the main answer.
            weights: What each class weighs in the losses that count pixels, (K,) float32; None for
                all alike.
            unions: What the masks' indices mean from the number of classes on: of which classes a
                pixel is one. They have no part in the named losses; all pixels count as much as
                others, whether their class is known or a union.
        """
        known: Mapping[str, Loss] = {
            "ce": partial(cross_entropy, weights=weights),
            "ohem": partial(ohem, weights=weights),
            "focal": partial(focal, weights=weights),
            "dice": dice,
            "lovasz": lovasz,
        }
        self._terms = [(weight, known[name]) for weight, name in read_terms(terms)]
        self._aux_weight = aux_weight
        self._weights = weights
        self._unions = unions

    def __call__(self, answer: Answer, masks: Tensor, opinion: Tensor | None = None) -> Tensor:
        """Return the loss; logits are enlarged to the masks (N, H, W) first, as in use.

        Args:
            answer: What the network answers.
            masks: (N, H, W) uint8.
            opinion: What a teacher answers to the same images, which decides among the classes of
                a union; None for no teacher.
        """
        first, *auxiliary = (answer,) if isinstance(answer, Tensor) else answer
        main = enlarged(first, masks)
        opinion = None if opinion is None else enlarged(opinion, masks)
        others = [
            self._judge_auxiliary(enlarged(logits, masks), main, masks, opinion)
            for logits in auxiliary
        ]
        return torch.stack([self._judge(main, masks, opinion), *others]).sum()

    def _judge_auxiliary(
        self, logits: Tensor, main: Tensor, masks: Tensor, opinion: Tensor | None
    ) -> Tensor:
        """Return the loss of an auxiliary head.

        One of a single channel, beside a main answer of more, finds boundaries.
        """
        if logits.shape[1] == 1 < main.shape[1]:
            known = self._known(masks, main)
            return WEIGHT * boundary(logits, known) + cross_entropy(
                main, where_sure(logits, known), self._weights
            )
        return self._aux_weight * self._judge(logits, masks, opinion)

    def _judge(self, logits: Tensor, masks: Tensor, opinion: Tensor | None) -> Tensor:
        """Return the sum of the losses of one head."""
        known = self._known(masks, logits)
        named = torch.stack([weight * loss(logits, known) for weight, loss in self._terms]).sum()
        if not self._unions:
            return named
        share = (known != IGNORE_INDEX).sum() / (masks != IGNORE_INDEX).sum().clamp(min=1)
        return share * named + (1 - share) * one_of_several(logits, masks, self._unions, opinion)

    def _known(self, masks: Tensor, logits: Tensor) -> Tensor:
        """Return masks of which those pixels are labeled whose class is known."""
        return masks.masked_fill(masks >= logits.shape[1], IGNORE_INDEX) if self._unions else masks


def enlarged(logits: Tensor, masks: Tensor) -> Tensor:
    """Return float32 logits of the size of masks (N, H, W)."""
    logits = logits.float()
    if logits.shape[2:] == masks.shape[1:]:
        return logits
    return functional.interpolate(
        logits, size=masks.shape[1:], mode="bilinear", align_corners=False
    )


COUNTED = 100
"""Samples that tell the classes' shares well enough; reading all of a large set would take
minutes."""

Shares = npt.NDArray[np.float64]


def class_weights(samples: Dataset, way: str) -> Tensor | None:
    """Return the weight of each class, (K,) float32, from at most 100 samples spread evenly over a split; None where all weigh the same.

    They are scaled so that a labeled pixel weighs 1 on average, and the loss keeps its size.

    Args:
        samples: The training split.
        way: "none", "inverse-log" (Paszke et al., ENet, 2016, section 5.1) or "median-frequency"
            (Eigen and Fergus, ICCV 2015, section 6.3.2).
    """
    if way == "none":
        return None
    pixels, seen = count(samples)
    shares = pixels / max(float(pixels.sum()), 1)
    weights = by_inverse_log(shares) if way == "inverse-log" else by_median_frequency(pixels, seen)
    mean = float((weights * shares).sum())
    return torch.tensor(weights / mean if mean else weights, dtype=torch.float32)


def count(samples: Dataset) -> tuple[Shares, Shares]:
    """Count each class's pixels, and the labeled pixels of the images that it occurs in.

    Both (K,).
    """
    pixels, seen = np.zeros(len(samples.classes)), np.zeros(len(samples.classes))
    for index in range(0, len(samples), max(1, len(samples) // COUNTED)):
        found = np.bincount(samples[index].mask.ravel(), minlength=IGNORE_INDEX + 1)[: len(pixels)]
        pixels += found
        seen += found.sum() * (found > 0)
    return pixels, seen


def by_inverse_log(shares: Shares) -> Shares:
    """Weigh each class by 1 / ln(1.02 + its share of the pixels)."""
    return np.array([inverse_log(float(share)) for share in shares])


def by_median_frequency(pixels: Shares, seen: Shares) -> Shares:
    """Weigh each class by the median of all frequencies over its own.

    How much of the images that show it, it fills.

    A class that never occurs weighs as the median does.
    """
    frequencies = np.divide(pixels, seen, out=np.full_like(pixels, np.nan), where=seen > 0)
    return (
        np.nan_to_num(np.nanmedian(frequencies) / frequencies, nan=1.0)
        if seen.any()
        else np.ones_like(pixels)
    )
