"""The one place where an image becomes floating point.

Inside the trained, the exported and the running network alike.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Deployed(nn.Module):
    """A network that takes images as they are: uint8, red-green-blue, channels last."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Put transpose, cast and normalization in front of a network.

        Args:
            network: Takes (N, 3, H, W) float32, normalized.
            mean: Mean of red, green, blue in [0, 1].
            std: Deviation of red, green, blue in [0, 1].
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
        """Answer (N, H, W, 3) uint8 red-green-blue images with (N, K, h, w) logits.

        While it trains, a network with auxiliary heads answers a tuple, the main answer first.
        """
        numbers = image.permute(0, 3, 1, 2).to(self.scale.dtype)
        answer: Tensor = self.network(numbers * self.scale + self.shift)
        return answer
