"""Fast-SCNN: Poudel et al., BMVC 2019, arXiv 1902.04502."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy.models.blocks import (
    Answer,
    PyramidPooling,
    conv_norm,
    conv_norm_relu,
    enlarge,
    initialize,
    separable,
)
from segdeploy.models.registry import register

DROPOUT = 0.1
"""Share of features left out before the last layer; the paper has dropout there and does not tell
how much."""


@register("fastscnn")
class FastSCNN(nn.Module):
    """Three convolutions that both branches share, a branch that goes on, and their sum.

    The logits have an eighth of the image's size; while it trains, there are auxiliary ones of an
    eighth and of a 32nd.
    """

    stride = 8
    least_batch = 2

    def __init__(self, classes: int) -> None:
        """Build the network with fresh weights.

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

    def forward(self, image: Tensor) -> Answer:
        """Answer (N, 3, H, W) normalized images with (N, K, H / 8, W / 8) logits."""
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
    """Feature fusion, table 3: both branches as a sum."""

    def __init__(self, fine: int, channels: int) -> None:
        """Build both sides.

        Args:
            fine: Channels of the fine features.
            channels: Channels of the coarse features, and of the answer.
        """
        super().__init__()
        self.fine = conv_norm(fine, channels, kernel=1)
        self.coarse = nn.Sequential(
            conv_norm_relu(channels, channels, dilation=4, groups=channels),
            conv_norm(channels, channels, kernel=1),
        )

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Join (N, C, H, W) with (N, C', ceil(H / 4), ceil(W / 4)) features."""
        return functional.relu(self.fine(fine) + self.coarse(enlarge(coarse, fine, factor=4)))


class Inverted(nn.Module):
    """MobileNetV2's block, table 2.

    Expanded six times, filtered channel by channel, and brought down without an activation.
    """

    def __init__(self, channels: int, out_channels: int, *, stride: int) -> None:
        """Build the block.

        Args:
            channels: Channels that come in.
            out_channels: Channels that go out.
            stride: How much smaller the answer is.
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
        answer: Tensor = self.body(features)
        return answer


class Residual(Inverted):
    """An inverted block beside a shortcut; size and channels stay."""

    def __init__(self, channels: int) -> None:
        """Build the block.

        Args:
            channels: Channels that come in, and go out.
        """
        super().__init__(channels, channels, stride=1)

    def forward(self, features: Tensor) -> Tensor:
        """Keep the size (N, C, H, W)."""
        answer: Tensor = features + self.body(features)
        return answer


def inverted(channels: int, out_channels: int, *, blocks: int, stride: int) -> list[nn.Module]:
    """Build inverted blocks in a row, the first of which changes size and channels."""
    return [
        Inverted(channels, out_channels, stride=stride),
        *(Residual(out_channels) for _ in range(blocks - 1)),
    ]


def auxiliary(channels: int, classes: int) -> nn.Sequential:
    """Build a head that only training has: the paper puts a loss on the end of each branch."""
    return nn.Sequential(
        conv_norm_relu(channels, 32), nn.Dropout(DROPOUT), nn.Conv2d(32, classes, 1)
    )
