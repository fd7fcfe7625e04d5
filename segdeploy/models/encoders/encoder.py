"""What every encoder is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

HALVINGS = 5
"""How often an encoder halves the picture, to a 32nd, where nothing is dilated instead."""


class Encoder(nn.Module, ABC):
    """Gives features of a picture from fine to coarse.

    Attributes:
        channels: Channels of each of the features.
        strides: How much smaller than the picture each of them is; the sides are rounded up.
        multiple: Number of which the picture's sides must be multiples.
        mean: Mean of red, green, blue in [0, 1] with which its published weights were learned.
        std: Deviation of the same.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    multiple: int = 1
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    __jit_ignored_attributes__ = ["channels", "strides"]  # noqa: RUF012 - TorchScript, which knows no tuple of any length, asks for a list

    @abstractmethod
    def forward(self, image: Tensor) -> list[Tensor]:
        """Give the features (N, C, ceil(H / stride), ceil(W / stride)) of (N, 3, H, W) normalized pictures."""

    @abstractmethod
    def published(self) -> Mapping[str, Tensor]:
        """Fetch the weights that were learned on ImageNet, under the names that their publisher gave them.

        Raises:
            ModelError: There are none, or they cannot be fetched.
            MissingExtraError: The package that carries them is not installed.
        """

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give published weights the names that they have here, and leave out what only classifies."""
        return dict(weights)


def strides_at(output_stride: int) -> tuple[int, ...]:
    """Give the strides of the five features where none is coarser than this."""
    return tuple(min(2 ** (halving + 1), output_stride) for halving in range(HALVINGS))
