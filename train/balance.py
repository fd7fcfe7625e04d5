"""What each class weighs in the loss."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segdeploy.checks.figures import inverse_log
from segdeploy.datasets import Dataset
from segdeploy.scores import IGNORED

COUNTED = 100
"""Samples that tell the classes' shares well enough; reading all of a large set would take minutes."""

Shares = npt.NDArray[np.float64]


def class_weights(samples: Dataset, way: str) -> Tensor | None:
    """Give the weight of each class, (K,) float32, from at most 100 samples spread evenly over a split; None where all weigh the same.

    They are scaled so that a labelled pixel weighs 1 on average, and the loss keeps its size.

    Args:
        samples: The training split.
        way: "none", "inverse-log" (Paszke et al., ENet, 2016, section 5.1) or "median-frequency" (Eigen and Fergus, ICCV
            2015, section 6.3.2).
    """
    if way == "none":
        return None
    pixels, seen = count(samples)
    shares = pixels / max(float(pixels.sum()), 1)
    weights = by_inverse_log(shares) if way == "inverse-log" else by_median_frequency(pixels, seen)
    mean = float((weights * shares).sum())
    return torch.tensor(weights / mean if mean else weights, dtype=torch.float32)


def count(samples: Dataset) -> tuple[Shares, Shares]:
    """Count each class's pixels, and the labelled pixels of the pictures that it occurs in; both (K,)."""
    pixels, seen = np.zeros(len(samples.classes)), np.zeros(len(samples.classes))
    for index in range(0, len(samples), max(1, len(samples) // COUNTED)):
        found = np.bincount(samples[index].mask.ravel(), minlength=IGNORED + 1)[: len(pixels)]
        pixels += found
        seen += found.sum() * (found > 0)
    return pixels, seen


def by_inverse_log(shares: Shares) -> Shares:
    """Weigh each class by 1 / ln(1.02 + its share of the pixels)."""
    return np.array([inverse_log(float(share)) for share in shares])


def by_median_frequency(pixels: Shares, seen: Shares) -> Shares:
    """Weigh each class by the median of all frequencies over its own: how much of the pictures that show it, it fills.

    A class that never occurs weighs as the median does.
    """
    frequencies = np.divide(pixels, seen, out=np.full_like(pixels, np.nan), where=seen > 0)
    return np.nan_to_num(np.nanmedian(frequencies) / frequencies, nan=1.0) if seen.any() else np.ones_like(pixels)
