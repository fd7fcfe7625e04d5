"""DeepLabV3+: Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018, arXiv 1802.02611."""

import torch
from torch import Tensor, nn

from segdeploy.errors import ConfigError
from segdeploy.models.blocks import conv_norm_relu, enlarge, initialize
from segdeploy.models.encoders.encoder import build_encoder
from segdeploy.models.registry import register

WIDTH = 256
"""Channels of the context and of the decoder; section 3.1."""

BRIDGE = 48
"""Channels of the encoder's fine features in the decoder; section 4.1, table 1."""

RATES = (6, 12, 18)
"""Dilations at a sixteenth of the image's size; at an eighth they are doubled, at a 32nd
halved."""

DROPOUT = 0.1


@register("deeplabv3plus")
class DeepLabV3Plus(nn.Module):
    """An encoder, context of several reaches, and a decoder that takes edges from a quarter of the image's size.

    The logits have a quarter of the image's size.
    """

    least_batch = 2

    def __init__(
        self, classes: int, *, backbone: str = "resnet50", output_stride: int = 16
    ) -> None:
        """Build the network with fresh weights.

        Args:
            classes: Number of classes, K.
            backbone: Name of an encoder.
            output_stride: How much smaller than the image the encoder's coarsest features are: 8,
                16 or 32.

        Raises:
            ConfigError: There is no such encoder, or it gives no features of a quarter of the
                image's size.
        """
        super().__init__()
        self.backbone = build_encoder(backbone, output_stride=output_stride)
        strides, channels = self.backbone.strides, self.backbone.channels
        if 4 not in strides:
            msg = (
                f"the backbone {backbone!r} gives features of strides {strides} and none of 4;"
                " choose another"
            )
            raise ConfigError(msg)
        self.stride = max(4, self.backbone.multiple)
        self._fine = strides.index(4)
        self._factor = strides[-1] // 4
        self.context = SpatialPyramid(
            channels[-1], WIDTH, rates=tuple(rate * 16 // strides[-1] for rate in RATES)
        )
        self.bridge = conv_norm_relu(channels[self._fine], BRIDGE, kernel=1)
        self.decoder = nn.Sequential(separable(WIDTH + BRIDGE, WIDTH), separable(WIDTH, WIDTH))
        self.head = nn.Conv2d(WIDTH, classes, 1)
        for part in (self.context, self.bridge, self.decoder, self.head):
            initialize(part)

    def forward(self, image: Tensor) -> Tensor:
        """Answer (N, 3, H, W) normalized images with (N, K, H / 4, W / 4) logits."""
        features = self.backbone(image)
        fine = self.bridge(features[self._fine])
        context = enlarge(self.context(features[-1]), fine, factor=self._factor)
        logits: Tensor = self.head(self.decoder(torch.cat([context, fine], dim=1)))
        return logits


class SpatialPyramid(nn.Module):
    """ASPP with image pooling: what lies here, around in three reaches, and everywhere."""

    def __init__(self, channels: int, width: int, *, rates: tuple[int, ...]) -> None:
        """Build the branches.

        Args:
            channels: Channels that come in.
            width: Channels of each branch, and of the answer.
            rates: Dilation of each reach.
        """
        super().__init__()
        here = conv_norm_relu(channels, width, kernel=1)
        self.branches = nn.ModuleList(
            [here, *(separable(channels, width, dilation=rate) for rate in rates)]
        )
        self.whole = conv_norm_relu(channels, width, kernel=1)
        # One 1x1 convolution over all branches, in two parts: that of the whole image is the same
        # for every pixel, and is computed once and broadcast instead of enlarged first.
        self.join = nn.Conv2d(len(self.branches) * width, width, 1, bias=False)
        self.join_whole = nn.Conv2d(width, width, 1, bias=False)
        self.end = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Dropout(DROPOUT))

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, width, H, W) features."""
        around = torch.cat([branch(features) for branch in self.branches], dim=1)
        whole = self.whole(features.mean((2, 3), keepdim=True))
        answer: Tensor = self.end(self.join(around) + self.join_whole(whole))
        return answer


def separable(channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """Build the paper's atrous separable convolution.

    3x3 channel by channel, then 1x1, each with norm and ReLU.
    """
    filtered = conv_norm_relu(channels, channels, dilation=dilation, groups=channels)
    return nn.Sequential(filtered, conv_norm_relu(channels, out_channels, kernel=1))
