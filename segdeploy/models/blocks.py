"""Convolution, residual and context blocks."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    Answer = Tensor | tuple[Tensor, ...]
else:
    Answer = Any  # TorchScript reads annotations, and knows no tuple of any length.
"""Logits; while a network with auxiliary heads trains, a tuple of logits, the main ones first."""


def conv_norm(
    channels: int,
    out_channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Build a convolution and batch norm.

    The answer's size is that of the input divided by the stride, rounded up.

    The convolution has no bias: the norm takes the mean away and adds a shift of its own.

    Args:
        channels: Channels that come in.
        out_channels: Channels that go out.
        kernel: Odd side of the kernel, in pixels.
        stride: Step of the kernel, in pixels.
        dilation: Distance between the kernel's taps, in pixels.
        groups: Groups of channels that do not see each other.
    """
    padding = kernel // 2 * dilation
    convolution = nn.Conv2d(
        channels, out_channels, kernel, stride, padding, dilation, groups, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


def conv_norm_relu(
    channels: int,
    out_channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Build what `conv_norm` builds, and ReLU behind it."""
    pair = conv_norm(
        channels, out_channels, kernel=kernel, stride=stride, dilation=dilation, groups=groups
    )
    return nn.Sequential(*pair, nn.ReLU(inplace=True))


def norm_relu_conv(
    channels: int, out_channels: int, *, kernel: int = 1, groups: int = 1
) -> nn.Sequential:
    """Build batch norm, ReLU and a convolution without bias, for features that come without an activation."""
    # Not in place: where the norm is folded away the sum before it may have a second reader.
    convolution = nn.Conv2d(
        channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), convolution)


def separable(channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """Build a 3x3 convolution channel by channel and a 1x1 convolution that mixes them, with no activation in between."""
    return nn.Sequential(
        conv_norm(channels, channels, stride=stride, groups=channels),
        conv_norm_relu(channels, out_channels, kernel=1),
    )


def head_without_activation(channels: int, middle: int, classes: int) -> nn.Sequential:
    """Build what turns features that come without an activation into logits of the same size."""
    return nn.Sequential(
        norm_relu_conv(channels, middle, kernel=3),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        nn.Conv2d(middle, classes, 1),
    )


def enlarge(coarse: Tensor, fine: Tensor, *, factor: int) -> Tensor:
    """Enlarge features by a whole factor, bilinearly, and cut them to the size of finer ones.

    Halving rounds up, so that there is always enough to cut; no pixel moves at any size. To enlarge
    straight to the finer size would stretch by 45 / 23 instead of 2, and shift the far end by a
    pixel.

    Args:
        coarse: Features (N, C, ceil(H / factor), ceil(W / factor)).
        fine: Features (N, C', H, W).
        factor: How much coarser they are.
    """
    enlarged = functional.interpolate(
        coarse, scale_factor=float(factor), mode="bilinear", align_corners=False
    )
    return enlarged[:, :, : fine.shape[2], : fine.shape[3]]


def initialize(network: nn.Module) -> None:
    """Draw the weights of every convolution as He et al. (ICCV 2015) do, so that ReLU keeps the variance."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


GRIDS = (1, 2, 3, 6)
"""Cells along a side of the grids of PSPNet's pyramid."""

WINDOWS = ((5, 2), (9, 4), (17, 8))
"""Side and step of the windows of DDRNet and PIDNet, in pixels of the coarsest features."""


class WindowMeans(nn.Module):
    """Means over windows of three sizes and over everything, each brought back to the features' size.

    DDRNet (arXiv 2101.06085) brought them in; PIDNet has the same.
    """

    scales = len(WINDOWS) + 2

    def __init__(self, channels: int, width: int) -> None:
        """Build the five scales.

        Args:
            channels: Channels that come in.
            width: Channels of each scale.
        """
        super().__init__()
        self.here = norm_relu_conv(channels, width)
        self.windows = nn.ModuleList(
            [
                nn.Sequential(nn.AvgPool2d(side, step, side // 2), norm_relu_conv(channels, width))
                for side, step in WINDOWS
            ]
        )
        self.steps = tuple(step for _, step in WINDOWS)
        self.whole = norm_relu_conv(channels, width)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Return (N, width, H, W) for each scale, from a pixel itself to everything."""
        scales = [self.here(features)]
        for window, step in zip(self.windows, self.steps, strict=True):
            scales.append(enlarge(window(features), features, factor=step))
        # The mean of everything is the same everywhere: it is left 1x1 and broadcast where it is
        # added.
        scales.append(self.whole(features.mean((2, 3), keepdim=True)))
        return scales


class DeepAggregation(nn.Module):
    """DAPPM of DDRNet: each scale is refined together with what the smaller ones gave."""

    def __init__(self, channels: int, width: int, out_channels: int) -> None:
        """Build the module.

        Args:
            channels: Channels that come in.
            width: Channels of each scale.
            out_channels: Channels that go out.
        """
        super().__init__()
        self.means = WindowMeans(channels, width)
        self.refine = nn.ModuleList(
            [norm_relu_conv(width, width, kernel=3) for _ in range(self.means.scales - 1)]
        )
        self.join = norm_relu_conv(self.means.scales * width, out_channels)
        self.shortcut = norm_relu_conv(channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', H, W) features."""
        scales = self.means(features)
        refined = [scales[0]]
        for number, refine in enumerate(self.refine, start=1):
            refined.append(refine(scales[number] + refined[-1]))
        answer: Tensor = self.join(torch.cat(refined, dim=1)) + self.shortcut(features)
        return answer


class PyramidPooling(nn.Module):
    """Means over a grid of 1, 2, 3 and 6 cells a side.

    PSPNet (Zhao et al., CVPR 2017), section 3.2.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        """Build the module.

        Args:
            channels: Channels that come in; each grid has a quarter of them.
            out_channels: Channels that go out.
        """
        super().__init__()
        self.grids = GRIDS
        self.reduce = nn.ModuleList(
            [conv_norm_relu(channels, channels // 4, kernel=1) for _ in self.grids]
        )
        self.join = conv_norm_relu(
            channels + len(self.grids) * (channels // 4), out_channels, kernel=1
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', H, W) features."""
        size = features.shape[2:]
        levels = [features]
        for grid, reduce in zip(self.grids, self.reduce, strict=True):
            level = reduce(grid_means(features, grid))
            levels.append(
                functional.interpolate(level, size=size, mode="bilinear", align_corners=False)
            )
        answer: Tensor = self.join(torch.cat(levels, dim=1))
        return answer


def grid_means(features: Tensor, grid: int) -> Tensor:
    """Return the mean of each cell of a grid: adaptive average pooling as two products of matrices.

    Exporters turn adaptive pooling into windows of the size that they happened to see; these
    matrices are computed from the size, and are constants where it is fixed.

    Args:
        features: (N, C, H, W).
        grid: Cells a side, G.

    Returns:
        Means, (N, C, G, G).
    """
    rows = cells(features, features.shape[2], grid)
    columns = cells(features, features.shape[3], grid)
    return rows @ features @ columns.transpose(0, 1)


def cells(features: Tensor, side: int, grid: int) -> Tensor:
    """Return the weight of each of `side` pixels in the mean of each cell, (grid, side).

    Cells overlap where the grid does not fit.
    """
    cell = torch.arange(grid, device=features.device)[:, None]
    pixel = torch.arange(side, device=features.device)[None]
    # From floor(cell * side / grid) to ceil((cell + 1) * side / grid), as PyTorch's adaptive
    # pooling has them; without a division.
    inside = ((pixel + 1) * grid > cell * side) & (pixel * grid < (cell + 1) * side)
    weights = inside.to(features.dtype)
    return weights / weights.sum(1, keepdim=True)


class Basic(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(
        self, channels: int, out_channels: int, *, stride: int = 1, activated: bool = True
    ) -> None:
        """Build the block.

        Args:
            channels: Channels that come in.
            out_channels: Channels that go out.
            stride: How much smaller the answer is.
            activated: Whether ReLU ends it; where another branch is added first, it must not.
        """
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_relu(channels, out_channels, stride=stride),
            conv_norm(out_channels, out_channels),
        )
        self.shortcut = shortcut(channels, out_channels, stride=stride)
        self.activation = nn.ReLU() if activated else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', ceil(H / stride), ceil(W / stride)) features."""
        answer: Tensor = self.activation(self.body(features) + self.shortcut(features))
        return answer


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1 beside a shortcut; it ends without an activation."""

    def __init__(self, channels: int, middle: int, *, stride: int = 1) -> None:
        """Build the block.

        Args:
            channels: Channels that come in.
            middle: Channels of the 3x3 convolution; twice as many go out.
            stride: How much smaller the answer is.
        """
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_relu(channels, middle, kernel=1),
            conv_norm_relu(middle, middle, stride=stride),
            conv_norm(middle, 2 * middle, kernel=1),
        )
        self.shortcut = shortcut(channels, 2 * middle, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', ceil(H / stride), ceil(W / stride)) features."""
        answer: Tensor = self.body(features) + self.shortcut(features)
        return answer


def shortcut(channels: int, out_channels: int, *, stride: int) -> nn.Module:
    """Build the way around a block: nothing where size and channels stay."""
    if stride == 1 and channels == out_channels:
        return nn.Identity()
    return conv_norm(channels, out_channels, kernel=1, stride=stride)


def stage(channels: int, out_channels: int, *, blocks: int, stride: int = 1) -> nn.Sequential:
    """Build basic blocks in a row, the last of which ends without an activation."""
    first = Basic(channels, out_channels, stride=stride, activated=blocks > 1)
    others = [
        Basic(out_channels, out_channels, activated=number < blocks)
        for number in range(2, blocks + 1)
    ]
    return nn.Sequential(first, *others)
