"""Backends whose output a test can work out by hand."""

from pathlib import Path

import numpy as np

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.card import ModelCard
from tests.helpers.cards import make_card


class ChannelBackend:
    """A backend whose logits are the image's own channels: a pixel's class is its strongest color.

    Attributes:
        card: Three classes, red, green and blue, unless another one is given.
        calls: How many batches were run.
    """

    device: str = "test"

    def __init__(self, card: ModelCard | None = None) -> None:
        self.card = card or make_card(classes=("red", "green", "blue"))
        self.calls = 0

    def run(self, batch: Batch) -> NetworkOutput:
        """Return (N, 3, H, W) float32 logits of (N, H, W, 3) uint8 RGB images."""
        self.calls += 1
        return batch.transpose(0, 3, 1, 2).astype(np.float32)


class ZeroBackend(ChannelBackend):
    """A backend whose logits are zero, (N, K, H, W) at a stride of 1."""

    def run(self, batch: Batch) -> NetworkOutput:
        """Return zeros for each class of the card."""
        self.calls += 1
        count, height, width, _ = batch.shape
        return np.zeros((count, len(self.card.classes), height, width), np.float32)


def random_batches(count: int, *, height: int = 45, width: int = 60) -> list[Batch]:
    """Return batches of one, two and three random images in turn, (N, height, width, 3) uint8."""
    random = np.random.default_rng(0)
    return [
        random.integers(0, 256, (1 + number % 3, height, width, 3), dtype=np.uint8)
        for number in range(count)
    ]


def artifact_of(folder: Path, suffix: str) -> Path:
    """Return best.pt of a folder, or the file that was exported from it."""
    return folder / f"best{'.ncnn' if suffix == '.param' else ''}{suffix}"
