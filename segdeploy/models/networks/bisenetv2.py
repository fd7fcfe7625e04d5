"""BiSeNetV2: Yu et al., IJCV 2021, arXiv 2004.02147."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy.models.blocks import Answer, conv_norm, conv_norm_relu, enlarge, initialize
from segdeploy.models.registry import register

HEAD = 1024
"""Channels of the head's 3x3 convolution. The paper leaves the number open; reimplementations that
reach its scores have this one."""

BOOSTER = 128
"""Channels of the auxiliary heads' 3x3 convolution, which the paper leaves open too."""

DROPOUT = 0.1


@register("bisenetv2")
class BiSeNetV2(nn.Module):
    """A shallow, wide branch for detail, a deep, narrow one for meaning, and a gate of each for the other.

    The logits have an eighth of the image's size; while it trains, there are auxiliary ones of a
    quarter to a 32nd.
    """

    stride = 8
    least_batch = 2

    def __init__(self, classes: int) -> None:
        """Build the network with fresh weights.

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
        # Right column: at a quarter, an eighth, a sixteenth and a 32nd of the image's size.
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

    def forward(self, image: Tensor) -> Answer:
        """Answer (N, 3, H, W) normalized images with (N, K, H / 8, W / 8) logits."""
        features = [image]
        for stage in self.semantic:
            features.append(stage(features[-1]))
        logits: Tensor = self.head(self.aggregate(self.detail(image), self.context(features[-1])))
        if not torch.jit.is_scripting() and self.training:
            return logits, *(
                booster(own) for booster, own in zip(self.auxiliary, features[1:], strict=True)
            )
        return logits


class Stem(nn.Module):
    """Two ways to halve, side by side; figure 4a."""

    def __init__(self, channels: int) -> None:
        """Build the block; it takes images and gives this many channels."""
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
        halved = self.first(image)
        answer: Tensor = self.join(torch.cat([self.filter(halved), self.pool(halved)], dim=1))
        return answer


class Gather(nn.Module):
    """Gather and expand, figure 5b.

    A block that expands six times in a 3x3 convolution channel by channel.
    """

    def __init__(self, channels: int) -> None:
        """Build the block; its channels stay."""
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_relu(channels, channels),
            conv_norm_relu(channels, 6 * channels, groups=channels),
            conv_norm(6 * channels, channels, kernel=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Keep the size (N, C, H, W)."""
        return functional.relu(features + self.body(features))


class Halve(nn.Module):
    """Gather and expand, figure 5c.

    As `Gather`, with two steps channel by channel, the first of which halves.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        """Build the block.

        Args:
            channels: Channels that come in.
            out_channels: Channels that go out.
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
    """Context embedding, figure 4b: the mean of the whole image, added everywhere."""

    def __init__(self, channels: int) -> None:
        """Build the block; its channels stay."""
        super().__init__()
        self.whole = nn.Sequential(
            nn.BatchNorm2d(channels), *conv_norm_relu(channels, channels, kernel=1)
        )
        self.refine = conv_norm_relu(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Keep the size (N, C, H, W)."""
        answer: Tensor = self.refine(features + self.whole(features.mean((2, 3), keepdim=True)))
        return answer


class Aggregate(nn.Module):
    """Bilateral guided aggregation, figure 6.

    Each branch opens and shuts the other, at both sizes.
    """

    def __init__(self, channels: int) -> None:
        """Build the layer; both branches have this many channels, and so has the answer."""
        super().__init__()
        self.detail_fine = filter_and_mix(channels)
        self.detail_coarse = nn.Sequential(
            conv_norm(channels, channels, stride=2), nn.AvgPool2d(3, 2, 1)
        )
        self.semantic_fine = conv_norm(channels, channels)
        self.semantic_coarse = filter_and_mix(channels)
        self.join = conv_norm_relu(channels, channels)

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        """Join (N, C, H, W) with (N, C, ceil(H / 4), ceil(W / 4)) features."""
        fine = (
            self.detail_fine(detail)
            * enlarge(self.semantic_fine(semantic), detail, factor=4).sigmoid()
        )
        coarse = self.detail_coarse(detail) * self.semantic_coarse(semantic).sigmoid()
        answer: Tensor = self.join(fine + enlarge(coarse, detail, factor=4))
        return answer


def filter_and_mix(channels: int) -> nn.Sequential:
    """Build a 3x3 convolution channel by channel with its norm, and a bare 1x1 convolution."""
    return nn.Sequential(
        conv_norm(channels, channels, groups=channels), nn.Conv2d(channels, channels, 1, bias=False)
    )


def head(channels: int, middle: int, classes: int) -> nn.Sequential:
    """Build what turns features into logits of the same size."""
    return nn.Sequential(
        conv_norm_relu(channels, middle), nn.Dropout(DROPOUT), nn.Conv2d(middle, classes, 1)
    )
