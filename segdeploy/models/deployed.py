"""The only place where an image becomes floating point: in training, export and inference."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Deployed(nn.Module):
    """A network that takes uint8 RGB images, channels last, and normalizes them itself."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Put permutation, cast and normalization in front of a network.

        Args:
            network: Takes (N, 3, H, W) float32, normalized.
            mean: Mean of red, green and blue in [0, 1].
            std: Standard deviation of red, green and blue in [0, 1].
        """
        super().__init__()
        self.network = network
        # (x / 255 - mean) / std as one multiplication and one addition.
        self.register_buffer(
            "scale", torch.tensor([1 / (255 * value) for value in std]).view(1, 3, 1, 1)
        )
        self.register_buffer(
            "shift", torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]).view(1, 3, 1, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, K, h, w) logits of (N, H, W, 3) uint8 RGB images.

        In training mode, a network with auxiliary heads returns a tuple with the main ones first.
        """
        floats = image.permute(0, 3, 1, 2).to(self.scale.dtype)
        logits: Tensor = self.network(floats * self.scale + self.shift)
        return logits
