"""RegSeg: Gao, arXiv 2111.09957.

"Rethink Dilated Convolution for Real-time Semantic Segmentation".
"""

import torch
from torch import Tensor, nn

from segdeploy.models.blocks import conv_norm, conv_norm_relu, initialize, upsample
from segdeploy.models.registry import register

DILATIONS = (((1,), (1, 2)), 4 * ((1, 4),), 7 * ((1, 14),))
"""Dilations of the two halves of each block of stride 16: the paper's RegSeg backbone."""

GROUP = 16
"""Channels per group of a 3x3 convolution."""


@register("regseg")
class RegSeg(nn.Module):
    """Downsampling ends at stride 16; from there on, dilation widens the receptive field.

    The logits have stride 4.
    """

    stride = 4

    def __init__(self, classes: int) -> None:
        """Build the network with random weights.

        Args:
            classes: Number of classes, K.
        """
        super().__init__()
        *dilations, last = [pair for part in DILATIONS for pair in part]
        self.quarter = nn.Sequential(conv_norm_relu(3, 32, stride=2), Block(32, 48, stride=2))
        self.eighth = nn.Sequential(Block(48, 128, stride=2), Block(128, 128), Block(128, 128))
        self.sixteenth = nn.Sequential(
            Block(128, 256, stride=2),
            *(Block(256, 256, dilations=pair) for pair in dilations),
            Block(256, 320, dilations=last),
        )
        # The paper's decoder: a sum at stride 8, and a few channels of stride 4 for the edges.
        self.from_quarter = conv_norm_relu(48, 8, kernel=1)
        self.from_eighth = conv_norm_relu(128, 128, kernel=1)
        self.from_sixteenth = conv_norm_relu(320, 128, kernel=1)
        self.refine = conv_norm_relu(128, 64)
        self.head = nn.Sequential(conv_norm_relu(64 + 8, 64), nn.Conv2d(64, classes, 1))
        initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, K, H / 4, W / 4) logits of (N, 3, H, W) normalized images."""
        quarter = self.quarter(image)
        eighth = self.eighth(quarter)
        sixteenth = self.from_sixteenth(self.sixteenth(eighth))
        refined = self.refine(self.from_eighth(eighth) + upsample(sixteenth, eighth, factor=2))
        logits: Tensor = self.head(
            torch.cat([upsample(refined, quarter, factor=2), self.from_quarter(quarter)], dim=1)
        )
        return logits


class Block(nn.Module):
    """The paper's D block: RegNet's Y block, with its 3x3 convolution split by dilation."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        dilations: tuple[int, ...] = (1,),
    ) -> None:
        """Build the block.

        Args:
            channels: Input channels.
            out_channels: Output channels.
            stride: Stride of the 3x3 convolution.
            dilations: Dilation of each equal part of the channels.
        """
        super().__init__()
        self.reduce = conv_norm_relu(channels, out_channels, kernel=1)
        self.filter = Dilated(out_channels, dilations, stride=stride)
        self.weigh = SqueezeExcite(out_channels, channels // 4)
        self.expand = conv_norm(out_channels, out_channels, kernel=1)
        self.shortcut = shortcut(channels, out_channels, stride=stride)
        self.activation = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', ceil(H / stride), ceil(W / stride)) features."""
        filtered = self.weigh(self.filter(self.reduce(features)))
        output: Tensor = self.activation(self.expand(filtered) + self.shortcut(features))
        return output


class Dilated(nn.Module):
    """Grouped 3x3 convolutions, each on a part of the channels with its own dilation."""

    def __init__(self, channels: int, dilations: tuple[int, ...], *, stride: int) -> None:
        """Build the parts.

        Args:
            channels: Input and output channels.
            dilations: Dilation of each part.
            stride: Stride of the 3x3 convolution.
        """
        super().__init__()
        width = channels // len(dilations)
        self.parts = nn.ModuleList(
            [
                nn.Conv2d(
                    width,
                    width,
                    3,
                    stride,
                    padding=dilation,
                    dilation=dilation,
                    groups=width // GROUP,
                    bias=False,
                )
                for dilation in dilations
            ]
        )
        self.end = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C, ceil(H / stride), ceil(W / stride)) features."""
        chunks = features.chunk(len(self.parts), dim=1)
        filtered = []
        for number, part in enumerate(self.parts):
            filtered.append(part(chunks[number]))
        output: Tensor = self.end(torch.cat(filtered, dim=1))
        return output


class SqueezeExcite(nn.Module):
    """Weights of the channels, computed from their means: Hu et al., CVPR 2018."""

    def __init__(self, channels: int, middle: int) -> None:
        """Build the block.

        Args:
            channels: Input and output channels.
            middle: Channels in between.
        """
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, middle, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C, H, W) features."""
        output: Tensor = features * self.weigh(features.mean((2, 3), keepdim=True))
        return output


def shortcut(channels: int, out_channels: int, *, stride: int) -> nn.Module:
    """Build the shortcut of a block; it downsamples by average pooling, which skips no pixel."""
    if stride == 1 and channels == out_channels:
        return nn.Identity()
    mean = nn.AvgPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()
    return nn.Sequential(mean, conv_norm(channels, out_channels, kernel=1))
