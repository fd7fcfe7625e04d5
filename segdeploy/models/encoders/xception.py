"""Modified aligned Xception.

Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018, section 3.2, figure 4.
"""

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from segdeploy.errors import ModelError
from segdeploy.models.blocks import conv_norm, conv_norm_relu, initialize
from segdeploy.models.encoders.encoder import Encoder, StageStride, feature_strides, stage_strides

MIDDLE = 16
"""Blocks of the middle flow."""


class Xception(Encoder):
    """Separable convolutions in blocks of three.

    Downsampling is done by separable convolutions too, so that they can be dilated instead.
    """

    channels = (64, 128, 256, 728, 2048)

    def __init__(self, output_stride: int) -> None:
        """Build the network; see `build_encoder`."""
        super().__init__()
        self.strides = feature_strides(output_stride)
        half, quarter, eighth, sixteenth, last = stage_strides(output_stride)
        middle = StageStride.without_halving(sixteenth.next_dilation)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(conv_norm_relu(3, 32, stride=half.stride), conv_norm_relu(32, 64)),
                Block((64, 128, 128, 128), stage=quarter),
                Block((128, 256, 256, 256), stage=eighth),
                nn.Sequential(
                    Block((256, 728, 728, 728), stage=sixteenth),
                    *(Block((728, 728, 728, 728), stage=middle) for _ in range(MIDDLE)),
                ),
                nn.Sequential(Block((728, 728, 1024, 1024), stage=last), *end(last.next_dilation)),
            ]
        )
        initialize(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features at the end of each stage."""
        features = [image]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features[1:]

    def published(self) -> Mapping[str, Tensor]:
        """Raise ModelError: no weights are published under these names."""
        msg = (
            "there are no ImageNet weights of xception; leave --weights-backbone out, give a file"
            " of your own, or train timm:xception65"
        )
        raise ModelError(msg)


class Block(nn.Module):
    """Three separable convolutions with a shortcut; ReLU precedes each, and the last one halves."""

    def __init__(self, widths: tuple[int, int, int, int], *, stage: StageStride) -> None:
        """Build the block.

        Args:
            widths: Input channels, and the output channels of each convolution.
            stage: Stride and dilation.
        """
        super().__init__()
        *first, last = pairwise(widths)
        self.body = nn.Sequential(
            *(
                part
                for pair in first
                for part in (nn.ReLU(), separable(*pair, dilation=stage.dilation))
            ),
            nn.ReLU(),
            separable(*last, dilation=stage.dilation, stride=stage.stride),
        )
        unchanged = stage.stride == 1 and widths[0] == widths[-1]
        self.shortcut = (
            nn.Identity()
            if unchanged
            else conv_norm(widths[0], widths[-1], kernel=1, stride=stage.stride)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', ceil(H / stride), ceil(W / stride)) features."""
        output: Tensor = self.body(features) + self.shortcut(features)
        return output


def separable(channels: int, out_channels: int, *, dilation: int, stride: int = 1) -> nn.Sequential:
    """Build a separable convolution, with batch norm and ReLU between its two parts.

    Xception has neither there; the paper adds them.
    """
    depthwise = conv_norm_relu(
        channels, channels, stride=stride, dilation=dilation, groups=channels
    )
    return nn.Sequential(depthwise, conv_norm(channels, out_channels, kernel=1))


def end(dilation: int) -> list[nn.Module]:
    """Build the three separable convolutions that end the exit flow."""
    layers = [
        part
        for pair in pairwise((1024, 1536, 1536, 2048))
        for part in (nn.ReLU(), separable(*pair, dilation=dilation))
    ]
    return [*layers, nn.ReLU()]


def build(name: str, output_stride: int) -> Encoder:  # noqa: ARG001 - the only one here
    """Build the encoder; see `build_encoder`."""
    return Xception(output_stride)
