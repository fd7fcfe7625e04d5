"""The only place where an image becomes floating point: in training, export and inference."""

from collections.abc import Sequence
from math import log
from typing import Self

import torch
from torch import Tensor, nn

from segdeploy.card import ModelCard


class Deployed(nn.Module):
    """A network that takes images as they are stored, channels last, and normalizes them itself.

    Usually uint8 RGB images; the card's channels, type and intensity say what else.
    """

    scale: Tensor
    shift: Tensor
    low: Tensor
    unit: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        limits: tuple[Sequence[float], Sequence[float]] | None = None,
        clipped: bool = False,
        bgr: bool = False,
        threshold: float | None = None,
    ) -> None:
        """Put permutation, cast and normalization in front of a network.

        Args:
            network: Takes (N, C, H, W) float32, normalized.
            mean: Mean of each channel in units of the intensity; of red, green and blue in [0, 1].
            std: Standard deviation of each channel, likewise.
            limits: The numbers of each channel that become 0 and 1; None for 0 and 255.
            clipped: Whether numbers outside the limits become 0 and 1.
            bgr: Whether the network takes BGR.
            threshold: Threshold of a network without a channel of the background, which is added;
                None for a network with a channel for each class.
        """
        super().__init__()
        self.network = network
        self.bgr = bgr
        self.clipped = clipped
        self.head = nn.Identity() if threshold is None else Background(threshold)
        low, high = limits or ((0.0,) * len(mean), (255.0,) * len(mean))
        if clipped:
            self.register_buffer("low", _column(low))
            self.register_buffer(
                "unit", _column([1 / (b - a) for a, b in zip(low, high, strict=True)])
            )
            low, high = (0.0,) * len(mean), (1.0,) * len(mean)
        # ((x - low) / (high - low) - mean) / std as one multiplication and one addition.
        scale = [1 / ((b - a) * s) for a, b, s in zip(low, high, std, strict=True)]
        shift = [-(a / (b - a) + m) / s for a, b, m, s in zip(low, high, mean, std, strict=True)]
        self.register_buffer("scale", _column(scale))
        self.register_buffer("shift", _column(shift))

    @classmethod
    def of(cls, network: nn.Module, card: ModelCard) -> Self:
        """Return a network that is fed as its card says."""
        spec = card.input
        return cls(
            network,
            spec.mean,
            spec.std,
            limits=spec.limits,
            clipped=spec.intensity.rule != "unit",
            bgr=spec.bgr,
            threshold=card.threshold,
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, K, h, w) logits of (N, H, W, C) images; usually of uint8 RGB ones.

        In training mode, a network with auxiliary heads returns a tuple with the main ones first.
        """
        floats = image.permute(0, 3, 1, 2).to(self.scale.dtype)
        if self.clipped:
            # Subtracted first: the difference of large numbers is exact, that of products is not.
            floats = ((floats - self.low) * self.unit).clamp(0, 1)
        floats = floats * self.scale + self.shift
        logits: Tensor = self.head(self.network(floats.flip(1) if self.bgr else floats))
        return logits


def _column(values: Sequence[float]) -> Tensor:
    """Return a number for each channel as a tensor that broadcasts over images."""
    return torch.tensor(list(values)).view(1, -1, 1, 1)


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
