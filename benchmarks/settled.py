"""Checkpoints of networks that never learned anything: their times are those of any other weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from segdeploy import datasets, models
from segdeploy.card import InputSpec, ModelCard
from segdeploy.checkpoint import Checkpoint, save_checkpoint

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True)
class Candidate:
    """A network as it would be trained.

    Attributes:
        network: Its registered name.
        arguments: What it is built with.
    """

    network: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its row."""
        return " ".join([self.network, *(f"{key}={value}" for key, value in self.arguments.items())])


def settled(candidate: Candidate, folder: Path, size: tuple[int, int]) -> Path:
    """Build a network for Streets' classes with random weights, and write its checkpoint.

    Args:
        candidate: The network.
        folder: Where the file goes.
        size: Height and width of the network's input, in pixels.
    """
    height, width = size
    classes = datasets.load("streets", None, "val").classes
    torch.manual_seed(0)
    network = models.build(candidate.network, len(classes), **candidate.arguments)
    # Norms that never saw a picture let the logits grow until rounding decides the labels, and a proof fails.
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 128, 128))
    stride = network.stride
    assert isinstance(stride, int)
    spec = InputSpec(height=height, width=width, mean=MEAN, std=STD, stride=stride)
    card = ModelCard(architecture=candidate.network, arguments=dict(candidate.arguments), classes=classes, input=spec)
    checkpoint = folder / f"{candidate.name.replace(' ', '-')}.pt"
    save_checkpoint(checkpoint, Checkpoint(card=card, weights=network.state_dict(), state={}))
    return checkpoint
