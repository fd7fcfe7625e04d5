"""What each class weighs in the loss."""

import numpy as np
import torch
from torch import Tensor

from segdeploy.checks.figures import inverse_log
from segdeploy.datasets import Dataset
from segdeploy.scores import IGNORED

COUNTED = 100
"""Samples that tell the classes' shares well enough; reading all of a large set would take minutes."""


def class_weights(samples: Dataset) -> Tensor:
    """Give the inverse-log weight of each class, (K,) float32, from at most 100 samples spread evenly over a split.

    They are scaled so that a labelled pixel weighs 1 on average, and the loss keeps its size.
    """
    counts = np.zeros(IGNORED + 1, np.int64)
    for index in range(0, len(samples), max(1, len(samples) // COUNTED)):
        counts += np.bincount(samples[index].mask.ravel(), minlength=IGNORED + 1)
    labelled = counts[: len(samples.classes)]
    shares = labelled / max(int(labelled.sum()), 1)
    weights = np.array([inverse_log(float(share)) for share in shares])
    mean = float((weights * shares).sum())
    return torch.tensor(weights / mean if mean else weights, dtype=torch.float32)
