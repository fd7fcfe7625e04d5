"""Modified aligned Xception.

Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018, section 3.2 and figure
4.
"""

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn

from segdeploy.errors import ModelError
from segdeploy.models.blocks import conv_norm, conv_norm_relu, initialize
from segdeploy.models.encoders.encoder import Encoder, Halving, halvings, strides_at

MIDDLE = 16
"""Blocks of the middle flow."""


class Xception(Encoder):
    """Separable convolutions in blocks of three.

    What halves is a separable convolution too, so that it can be dilated.
    """

    channels = (64, 128, 256, 728, 2048)

    def __init__(self, output_stride: int) -> None:
        """Build the network; see `build_encoder`."""
        super().__init__()
        self.strides = strides_at(output_stride)
        half, quarter, eighth, sixteenth, last = halvings(output_stride)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(conv_norm_relu(3, 32, stride=half.stride), conv_norm_relu(32, 64)),
                Block((64, 128, 128, 128), halving=quarter),
                Block((128, 256, 256, 256), halving=eighth),
                nn.Sequential(
                    Block((256, 728, 728, 728), halving=sixteenth),
                    *(
                        Block((728, 728, 728, 728), halving=unhalved(sixteenth.after))
                        for _ in range(MIDDLE)
                    ),
                ),
                nn.Sequential(Block((728, 728, 1024, 1024), halving=last), *end(last.after)),
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
        """Say that nobody publishes weights under these names."""
        msg = (
            "there are no ImageNet weights of xception; leave --weights-backbone out, give a file"
            " of your own, or train timm:xception65"
        )
        raise ModelError(msg)


class Block(nn.Module):
    """Three separable convolutions beside a shortcut, each with ReLU before it.

    The last one halves.
    """

    def __init__(self, widths: tuple[int, int, int, int], *, halving: Halving) -> None:
        """Build the block.

        Args:
            widths: Channels that come in, and those after each convolution.
            halving: Stride and dilation.
        """
        super().__init__()
        steps = list(pairwise(widths))
        self.body = nn.Sequential(
            *(
                part
                for pair in steps[:-1]
                for part in (nn.ReLU(), separable(*pair, dilation=halving.before))
            ),
            nn.ReLU(),
            separable(*steps[-1], dilation=halving.before, stride=halving.stride),
        )
        same = halving.stride == 1 and widths[0] == widths[-1]
        self.shortcut = (
            nn.Identity()
            if same
            else conv_norm(widths[0], widths[-1], kernel=1, stride=halving.stride)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', ceil(H / stride), ceil(W / stride)) features."""
        answer: Tensor = self.body(features) + self.shortcut(features)
        return answer


def separable(channels: int, out_channels: int, *, dilation: int, stride: int = 1) -> nn.Sequential:
    """Build a separable convolution with norm and ReLU after its 3x3 part, which the paper adds to Xception."""
    filtered = conv_norm_relu(channels, channels, stride=stride, dilation=dilation, groups=channels)
    return nn.Sequential(filtered, conv_norm(channels, out_channels, kernel=1))


def unhalved(dilation: int) -> Halving:
    """Return a block that never halves."""
    return Halving(stride=1, before=dilation, after=dilation)


def end(dilation: int) -> list[nn.Module]:
    """Build the three separable convolutions that end the exit flow."""
    steps = [
        part
        for pair in pairwise((1024, 1536, 1536, 2048))
        for part in (nn.ReLU(), separable(*pair, dilation=dilation))
    ]
    return [*steps, nn.ReLU()]


def build(name: str, output_stride: int) -> Encoder:  # noqa: ARG001 - the only one here
    """Build the encoder; see `build_encoder`."""
    return Xception(output_stride)
