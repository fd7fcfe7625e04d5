"""The only place where an image becomes floating point: in training, export and inference."""

from collections.abc import Sequence
from math import log
from typing import Self

import torch
from torch import Tensor, nn

from segdeploy.card import ModelCard


class Deployed(nn.Module):
    """A network that takes uint8 RGB images, channels last, and normalizes them itself."""

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        bgr: bool = False,
        threshold: float | None = None,
    ) -> None:
        """Put permutation, cast and normalization in front of a network.

        Args:
            network: Takes (N, 3, H, W) float32, normalized.
            mean: Mean of red, green and blue in [0, 1].
            std: Standard deviation of red, green and blue in [0, 1].
            bgr: Whether the network takes BGR.
            threshold: Threshold of a network without a channel of the background, which is added;
                None for a network with a channel for each class.
        """
        super().__init__()
        self.network = network
        self.bgr = bgr
        self.head = nn.Identity() if threshold is None else Background(threshold)
        # (x / 255 - mean) / std as one multiplication and one addition.
        self.register_buffer(
            "scale", torch.tensor([1 / (255 * value) for value in std]).view(1, 3, 1, 1)
        )
        self.register_buffer(
            "shift", torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(1, 3, 1, 1)
        )

    @classmethod
    def of(cls, network: nn.Module, card: ModelCard) -> Self:
        """Return a network that is fed as its card says."""
        spec = card.input
        return cls(network, spec.mean, spec.std, bgr=spec.bgr, threshold=card.threshold)

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, K, h, w) logits of (N, H, W, 3) uint8 RGB images.

        In training mode, a network with auxiliary heads returns a tuple with the main ones first.
        """
        floats = image.permute(0, 3, 1, 2).to(self.scale.dtype) * self.scale + self.shift
        logits: Tensor = self.head(self.network(floats.flip(1) if self.bgr else floats))
        return logits


class Background(nn.Module):
    """Adds the logits of the background to those of all other classes.

    With one class this is the sigmoid: the softmax of zero and z is the sigmoid of z.
    """

    def __init__(self, threshold: float) -> None:
        """Keep the threshold.

        Args:
            threshold: Probability from which on a pixel belongs to a class, in (0, 1).
        """
        super().__init__()
        self.shift = log((1 - threshold) / threshold)

    def forward(self, logits: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        """Return (N, K, h, w) logits of (N, K - 1, h, w); those of auxiliary heads likewise."""
        if isinstance(logits, tuple):
            return tuple(self._extended(one) for one in logits)
        return self._extended(logits)

    def _extended(self, logits: Tensor) -> Tensor:
        shifted = logits + self.shift
        return torch.cat([torch.zeros_like(shifted[:, :1]), shifted], dim=1)
