"""BiSeNetV2: Yu et al., IJCV 2021, arXiv 2004.02147."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy.models.blocks import Output, conv_norm, conv_norm_relu, initialize, upsample
from segdeploy.models.registry import register

HEAD = 1024
"""Channels of the head's 3x3 convolution. The paper does not state the number; reimplementations
that reach its scores have this one."""

BOOSTER = 128
"""Channels of the auxiliary heads' 3x3 convolution, which the paper does not state either."""

DROPOUT = 0.1


@register("bisenetv2")
class BiSeNetV2(nn.Module):
    """A shallow, wide detail branch and a deep, narrow semantic branch, which gate each other.

    The logits have stride 8; in training mode there are auxiliary ones of strides 4 to 32.
    """

    stride = 8
    least_batch = 2

    def __init__(self, classes: int) -> None:
        """Build the network with random weights.

        Args:
            classes: Number of classes, K.
        """
        super().__init__()
        # Table 1 of the paper, left column.
        self.detail = nn.Sequential(
            *(conv_norm_relu(3, 64, stride=2), conv_norm_relu(64, 64)),
            *(conv_norm_relu(64, 64, stride=2), conv_norm_relu(64, 64), conv_norm_relu(64, 64)),
            *(
                conv_norm_relu(64, 128, stride=2),
                conv_norm_relu(128, 128),
                conv_norm_relu(128, 128),
            ),
        )
        # Right column: strides 4, 8, 16 and 32.
        self.semantic = nn.ModuleList(
            [
                Stem(16),
                nn.Sequential(Halve(16, 32), Gather(32)),
                nn.Sequential(Halve(32, 64), Gather(64)),
                nn.Sequential(Halve(64, 128), Gather(128), Gather(128), Gather(128)),
            ]
        )
        self.context = Context(128)
        self.aggregate = Aggregate(128)
        self.head = head(128, HEAD, classes)
        self.auxiliary = nn.ModuleList(
            [head(channels, BOOSTER, classes) for channels in (16, 32, 64, 128)]
        )
        initialize(self)

    def forward(self, image: Tensor) -> Output:
        """Return (N, K, H / 8, W / 8) logits of (N, 3, H, W) normalized images."""
        features = [image]
        for stage in self.semantic:
            features.append(stage(features[-1]))
        logits: Tensor = self.head(self.aggregate(self.detail(image), self.context(features[-1])))
        if not torch.jit.is_scripting() and self.training:
            return logits, *(
                booster(stage) for booster, stage in zip(self.auxiliary, features[1:], strict=True)
            )
        return logits


class Stem(nn.Module):
    """Stem block, figure 4a: downsampling by convolution and by pooling, side by side."""

    def __init__(self, channels: int) -> None:
        """Build the block, which turns images into features of this many channels."""
        super().__init__()
        self.first = conv_norm_relu(3, channels, stride=2)
        self.filter = nn.Sequential(
            conv_norm_relu(channels, channels // 2, kernel=1),
            conv_norm_relu(channels // 2, channels, stride=2),
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.join = conv_norm_relu(2 * channels, channels)

    def forward(self, image: Tensor) -> Tensor:
        """Turn (N, 3, H, W) into (N, C, ceil(H / 4), ceil(W / 4)) features."""
        half = self.first(image)
        output: Tensor = self.join(torch.cat([self.filter(half), self.pool(half)], dim=1))
        return output


class Gather(nn.Module):
    """Gather and expansion, figure 5b: a depthwise convolution of six times the channels."""

    def __init__(self, channels: int) -> None:
        """Build the block; the number of channels stays the same."""
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_relu(channels, channels),
            conv_norm_relu(channels, 6 * channels, groups=channels),
            conv_norm(6 * channels, channels, kernel=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C, H, W) features."""
        return functional.relu(features + self.body(features))


class Halve(nn.Module):
    """Gather and expansion, figure 5c: as `Gather`, with two depthwise convolutions; stride 2."""

    def __init__(self, channels: int, out_channels: int) -> None:
        """Build the block.

        Args:
            channels: Input channels.
            out_channels: Output channels.
        """
        super().__init__()
        wide = 6 * channels
        self.body = nn.Sequential(
            conv_norm_relu(channels, channels),
            conv_norm(channels, wide, stride=2, groups=channels),
            conv_norm_relu(wide, wide, groups=wide),
            conv_norm(wide, out_channels, kernel=1),
        )
        self.shortcut = nn.Sequential(
            conv_norm(channels, channels, stride=2, groups=channels),
            conv_norm(channels, out_channels, kernel=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', ceil(H / 2), ceil(W / 2)) features."""
        return functional.relu(self.body(features) + self.shortcut(features))


class Context(nn.Module):
    """Context embedding, figure 4b: the mean of the image, added to every pixel."""

    def __init__(self, channels: int) -> None:
        """Build the block; the number of channels stays the same."""
        super().__init__()
        self.whole = nn.Sequential(
            nn.BatchNorm2d(channels), *conv_norm_relu(channels, channels, kernel=1)
        )
        self.refine = conv_norm_relu(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C, H, W) features."""
        output: Tensor = self.refine(features + self.whole(features.mean((2, 3), keepdim=True)))
        return output


class Aggregate(nn.Module):
    """Bilateral guided aggregation, figure 6: each branch gates the other, at both sizes."""

    def __init__(self, channels: int) -> None:
        """Build the layer; both branches and the output have this many channels."""
        super().__init__()
        self.detail_fine = depthwise_separable(channels)
        self.detail_coarse = nn.Sequential(
            conv_norm(channels, channels, stride=2), nn.AvgPool2d(3, 2, 1)
        )
        self.semantic_fine = conv_norm(channels, channels)
        self.semantic_coarse = depthwise_separable(channels)
        self.join = conv_norm_relu(channels, channels)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Join (N, C, H, W) with (N, C, ceil(H / 4), ceil(W / 4)) features."""
        fine = (
            self.detail_fine(detail)
            * upsample(self.semantic_fine(semantic), detail, factor=4).sigmoid()
        )
        coarse = self.detail_coarse(detail) * self.semantic_coarse(semantic).sigmoid()
        output: Tensor = self.join(fine + upsample(coarse, detail, factor=4))
        return output


def depthwise_separable(channels: int) -> nn.Sequential:
    """Build a depthwise 3x3 convolution with batch norm, and a 1x1 convolution without."""
    return nn.Sequential(
        conv_norm(channels, channels, groups=channels), nn.Conv2d(channels, channels, 1, bias=False)
    )


def head(channels: int, middle: int, classes: int) -> nn.Sequential:
    """Build layers that turn features into logits of the same size."""
    return nn.Sequential(
        conv_norm_relu(channels, middle), nn.Dropout(DROPOUT), nn.Conv2d(middle, classes, 1)
    )
