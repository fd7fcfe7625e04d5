"""U-Net: Ronneberger et al., MICCAI 2015, with batch norm."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy.errors import ConfigError
from segdeploy.models.blocks import conv_norm_relu, initialize, upsample
from segdeploy.models.registry import register

MAX_DEPTH = 8


@register("unet")
class UNet(nn.Module):
    """An encoder that downsamples, a decoder that upsamples, and skip connections at every size.

    The paper's convolutions shrink the image; these are padded, so that the logits have the image's
    size. Downsampling rounds up, and upsampling is exact and then cropped, so that no pixel moves
    at any size, 1x1 included.
    """

    stride = 1

    def __init__(self, classes: int, *, width: int = 32, depth: int = 4) -> None:
        """Build the network with random weights.

        Args:
            classes: Number of classes, K.
            width: Channels at the image's own size; they double with each downsampling. The paper
                has 64.
            depth: Number of downsamplings. The paper has 4.

        Raises:
            ConfigError: The width or the depth is out of range.
        """
        if width < 1 or not 1 <= depth <= MAX_DEPTH:
            msg = (
                f"a U-Net cannot have width {width} and depth {depth}; the width is 1 or more and"
                f" the depth 1 to {MAX_DEPTH}"
            )
            raise ConfigError(msg)
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.stem = conv_pair(3, width)
        self.encoder = nn.ModuleList([conv_pair(fine, coarse) for fine, coarse in pairwise(widths)])
        self.decoder = nn.ModuleList(
            [Join(coarse, fine) for coarse, fine in pairwise(widths[::-1])]
        )
        self.head = nn.Conv2d(width, classes, 1)
        initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, K, H, W) logits of (N, 3, H, W) normalized images."""
        features = [self.stem(image)]
        for stage in self.encoder:
            features.append(stage(functional.max_pool2d(features[-1], 2, ceil_mode=True)))
        output = features.pop()
        for join in self.decoder:
            output = join(output, features.pop())
        logits: Tensor = self.head(output)
        return logits


class Join(nn.Module):
    """Upsample the coarse features by 2 and join them with the encoder's of that size."""

    def __init__(self, coarse: int, fine: int) -> None:
        """Build the step.

        Args:
            coarse: Channels of the coarse features.
            fine: Channels of the encoder's features, and of the output.
        """
        super().__init__()
        # The paper upsamples by a transposed convolution. A 1x1 convolution and bilinear upsampling
        # need a quarter of its multiplications, leave no checkerboard pattern, and quantize in
        # every runtime. Their order does not matter (both are linear, and bilinear weights sum to
        # 1), so the convolution runs first, on a quarter of the pixels.
        self.reduce = nn.Conv2d(coarse, fine, 1)
        self.refine = conv_pair(2 * fine, fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Join (N, C, ceil(H / 2), ceil(W / 2)) with (N, C', H, W) features."""
        joined: Tensor = self.refine(
            torch.cat([fine, upsample(self.reduce(coarse), fine, factor=2)], dim=1)
        )
        return joined


def conv_pair(channels: int, out_channels: int) -> nn.Sequential:
    """Build the paper's pair of 3x3 convolutions."""
    return nn.Sequential(
        conv_norm_relu(channels, out_channels), conv_norm_relu(out_channels, out_channels)
    )
