"""DeepLabV3+: Chen et al., ECCV 2018, arXiv 1802.02611.

"Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation".
"""

import torch
from torch import Tensor, nn

from segdeploy.errors import ConfigError
from segdeploy.models.blocks import conv_norm_relu, initialize, upsample
from segdeploy.models.encoders.encoder import build_encoder
from segdeploy.models.registry import register

WIDTH = 256
"""Channels of the context and of the decoder; section 3.1."""

BRIDGE = 48
"""Channels of the encoder's fine features in the decoder; section 4.1, table 1."""

RATES = (6, 12, 18)
"""Dilations at output stride 16; doubled at 8, halved at 32."""

DROPOUT = 0.1


@register("deeplabv3plus")
class DeepLabV3Plus(nn.Module):
    """An encoder, dilated context (ASPP), and a decoder with fine features of stride 4.

    The logits have stride 4.
    """

    least_batch = 2

    def __init__(
        self, classes: int, *, backbone: str = "resnet50", output_stride: int = 16
    ) -> None:
        """Build the network with random weights.

        Args:
            classes: Number of classes, K.
            backbone: Name of an encoder.
            output_stride: Stride of the encoder's coarsest features: 8, 16 or 32.

        Raises:
            ConfigError: There is no such encoder, or it has no features of stride 4.
        """
        super().__init__()
        self.backbone = build_encoder(backbone, output_stride=output_stride)
        strides, channels = self.backbone.strides, self.backbone.channels
        if 4 not in strides:
            msg = (
                f"the backbone {backbone!r} has features of strides {strides} and none of 4;"
                " choose another"
            )
            raise ConfigError(msg)
        self.stride = max(4, self.backbone.multiple)
        self.fixed_size = self.backbone.fixed_size
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
        """Return (N, K, H / 4, W / 4) logits of (N, 3, H, W) normalized images."""
        features = self.backbone(image)
        fine = self.bridge(features[self._fine])
        context = upsample(self.context(features[-1]), fine, factor=self._factor)
        logits: Tensor = self.head(self.decoder(torch.cat([context, fine], dim=1)))
        return logits


class SpatialPyramid(nn.Module):
    """ASPP with image pooling: a 1x1 convolution, three dilated ones, and the mean of the image."""

    def __init__(self, channels: int, width: int, *, rates: tuple[int, ...]) -> None:
        """Build the branches.

        Args:
            channels: Input channels.
            width: Channels of each branch, and of the output.
            rates: Dilation of each separable convolution.
        """
        super().__init__()
        pointwise = conv_norm_relu(channels, width, kernel=1)
        self.branches = nn.ModuleList(
            [pointwise, *(separable(channels, width, dilation=rate) for rate in rates)]
        )
        self.whole = conv_norm_relu(channels, width, kernel=1)
        # One 1x1 convolution over all branches, in two parts: the mean of the image is the same for
        # every pixel, so its part is computed once and broadcast instead of upsampled first.
        self.join = nn.Conv2d(len(self.branches) * width, width, 1, bias=False)
        self.join_whole = nn.Conv2d(width, width, 1, bias=False)
        self.end = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Dropout(DROPOUT))

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, width, H, W) features."""
        local = torch.cat([branch(features) for branch in self.branches], dim=1)
        whole = self.whole(features.mean((2, 3), keepdim=True))
        output: Tensor = self.end(self.join(local) + self.join_whole(whole))
        return output


def separable(channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """Build the paper's atrous separable convolution: depthwise 3x3, then 1x1, each with ReLU."""
    depthwise = conv_norm_relu(channels, channels, dilation=dilation, groups=channels)
    return nn.Sequential(depthwise, conv_norm_relu(channels, out_channels, kernel=1))
