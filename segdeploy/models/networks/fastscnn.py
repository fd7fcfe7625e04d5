"""Fast-SCNN: Poudel et al., BMVC 2019, arXiv 1902.04502."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy.models.blocks import (
    Output,
    PyramidPooling,
    conv_norm,
    conv_norm_relu,
    initialize,
    separable,
    upsample,
)
from segdeploy.models.registry import register

DROPOUT = 0.1
"""Dropout before the last layer; the paper does not state the rate."""


@register("fastscnn")
class FastSCNN(nn.Module):
    """Three convolutions shared by both branches, a deeper branch, and the sum of both.

    The logits have stride 8; in training mode there are auxiliary ones of strides 8 and 32.
    """

    stride = 8
    least_batch = 2

    def __init__(self, classes: int) -> None:
        """Build the network with random weights.

        Args:
            classes: Number of classes, K.
        """
        super().__init__()
        # Table 1 of the paper, from top to bottom.
        self.shared = nn.Sequential(
            conv_norm_relu(3, 32, stride=2),
            separable(32, 48, stride=2),
            separable(48, 64, stride=2),
        )
        self.context = nn.Sequential(
            *inverted(64, 64, blocks=3, stride=2),
            *inverted(64, 96, blocks=3, stride=2),
            *inverted(96, 128, blocks=3, stride=1),
            PyramidPooling(128, 128),
        )
        self.fuse = Fuse(64, 128)
        self.head = nn.Sequential(
            separable(128, 128),
            separable(128, 128),
            nn.Dropout(DROPOUT),
            nn.Conv2d(128, classes, 1),
        )
        self.auxiliary = nn.ModuleList([auxiliary(64, classes), auxiliary(128, classes)])
        initialize(self)

    def forward(self, image: Tensor) -> Output:
        """Return (N, K, H / 8, W / 8) logits of (N, 3, H, W) normalized images."""
        shared = self.shared(image)
        context = self.context(shared)
        logits: Tensor = self.head(self.fuse(shared, context))
        if not torch.jit.is_scripting() and self.training:
            return logits, *(
                layer(features)
                for layer, features in zip(self.auxiliary, (shared, context), strict=True)
            )
        return logits


class Fuse(nn.Module):
    """Feature fusion, table 3: the sum of both branches."""

    def __init__(self, fine: int, channels: int) -> None:
        """Build both branches.

        Args:
            fine: Channels of the fine features.
            channels: Channels of the coarse features, and of the output.
        """
        super().__init__()
        self.fine = conv_norm(fine, channels, kernel=1)
        self.coarse = nn.Sequential(
            conv_norm_relu(channels, channels, dilation=4, groups=channels),
            conv_norm(channels, channels, kernel=1),
        )

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Join (N, C, H, W) with (N, C', ceil(H / 4), ceil(W / 4)) features."""
        return functional.relu(self.fine(fine) + self.coarse(upsample(coarse, fine, factor=4)))


class Inverted(nn.Module):
    """Inverted residual block of MobileNetV2, table 2.

    The channels are expanded six times, convolved depthwise, and reduced without an activation.
    """

    def __init__(self, channels: int, out_channels: int, *, stride: int) -> None:
        """Build the block.

        Args:
            channels: Input channels.
            out_channels: Output channels.
            stride: Stride of the 3x3 convolution.
        """
        super().__init__()
        wide = 6 * channels
        self.body = nn.Sequential(
            conv_norm_relu(channels, wide, kernel=1),
            conv_norm_relu(wide, wide, stride=stride, groups=wide),
            conv_norm(wide, out_channels, kernel=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', ceil(H / stride), ceil(W / stride)) features."""
        output: Tensor = self.body(features)
        return output


class Residual(Inverted):
    """An inverted block with a shortcut; size and channels stay the same."""

    def __init__(self, channels: int) -> None:
        """Build the block.

        Args:
            channels: Input and output channels.
        """
        super().__init__(channels, channels, stride=1)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C, H, W) features."""
        output: Tensor = features + self.body(features)
        return output


def inverted(channels: int, out_channels: int, *, blocks: int, stride: int) -> list[nn.Module]:
    """Build a sequence of inverted blocks, the first of which changes size and channels."""
    return [
        Inverted(channels, out_channels, stride=stride),
        *(Residual(out_channels) for _ in range(blocks - 1)),
    ]


def auxiliary(channels: int, classes: int) -> nn.Sequential:
    """Build an auxiliary head: in training, the paper has a loss at the end of each branch."""
    return nn.Sequential(
        conv_norm_relu(channels, 32), nn.Dropout(DROPOUT), nn.Conv2d(32, classes, 1)
    )
