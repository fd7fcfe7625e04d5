"""U-Net: Ronneberger et al., MICCAI 2015, with batch norm."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy.errors import ConfigError
from segdeploy.models.blocks import conv_norm_relu, enlarge, initialize
from segdeploy.models.registry import register

MAX_DEPTH = 8


@register("unet")
class UNet(nn.Module):
    """An encoder that halves, a decoder that doubles, and a bridge at every size between them.

    Where the paper's convolutions shrink the image, these are padded, so that the answer has the
    image's size. Halving rounds up and doubling is exact and then cropped, so that no pixel moves
    at any size, 1x1 included.
    """

    stride = 1

    def __init__(self, classes: int, *, width: int = 32, depth: int = 4) -> None:
        """Build the network with fresh weights.

        Args:
            classes: Number of classes, K.
            width: Channels at the image's own size; each halving doubles them. The paper has 64.
            depth: How often the image is halved. The paper has 4.

        Raises:
            ConfigError: The width or the depth cannot be.
        """
        if width < 1 or not 1 <= depth <= MAX_DEPTH:
            msg = (
                f"a U-Net of width {width} and depth {depth} cannot be; the width is 1 or more and"
                f" the depth 1 to {MAX_DEPTH}"
            )
            raise ConfigError(msg)
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.stem = twice(3, width)
        self.encoder = nn.ModuleList([twice(fine, coarse) for fine, coarse in pairwise(widths)])
        self.decoder = nn.ModuleList(
            [Join(coarse, fine) for coarse, fine in pairwise(widths[::-1])]
        )
        self.head = nn.Conv2d(width, classes, 1)
        initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        """Answer (N, 3, H, W) normalized images with (N, K, H, W) logits."""
        features = [self.stem(image)]
        for halved in self.encoder:
            features.append(halved(functional.max_pool2d(features[-1], 2, ceil_mode=True)))
        answer = features.pop()
        for join in self.decoder:
            answer = join(answer, features.pop())
        logits: Tensor = self.head(answer)
        return logits


class Join(nn.Module):
    """Double the coarse features and join them with the encoder's of that size."""

    def __init__(self, coarse: int, fine: int) -> None:
        """Build the step.

        Args:
            coarse: Channels that come from below.
            fine: Channels of the encoder's features, and of the answer.
        """
        super().__init__()
        # The paper doubles by a transposed convolution. A 1x1 convolution and bilinear doubling
        # need a quarter of its multiplications, leave no checkerboard, and quantize in every
        # runtime. Their order is free (both are linear and bilinear weights sum to 1), so that the
        # convolution runs on the quarter of the pixels.
        self.reduce = nn.Conv2d(coarse, fine, 1)
        self.refine = twice(2 * fine, fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Join (N, C, ceil(H / 2), ceil(W / 2)) with (N, C', H, W) features."""
        joined: Tensor = self.refine(
            torch.cat([fine, enlarge(self.reduce(coarse), fine, factor=2)], dim=1)
        )
        return joined


def twice(channels: int, out_channels: int) -> nn.Sequential:
    """Build the paper's pair of 3x3 convolutions."""
    return nn.Sequential(
        conv_norm_relu(channels, out_channels), conv_norm_relu(out_channels, out_channels)
    )
