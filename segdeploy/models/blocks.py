"""Convolution, residual and context blocks of the networks."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    Output = Tensor | tuple[Tensor, ...]
else:
    Output = Any  # TorchScript reads annotations, and has no tuple of unknown length.
"""Logits; in training mode, of a network with auxiliary heads, a tuple with the main ones first."""


def conv_norm(
    channels: int,
    out_channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Build a convolution with batch norm.

    The output has the size of the input divided by the stride, rounded up. The convolution has no
    bias, since batch norm subtracts the mean and adds a bias of its own.

    Args:
        channels: Input channels.
        out_channels: Output channels.
        kernel: Odd side of the kernel, in pixels.
        stride: Stride of the kernel.
        dilation: Dilation of the kernel.
        groups: Groups of the convolution.
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
    """Build a convolution with batch norm and ReLU; see `conv_norm`."""
    pair = conv_norm(
        channels, out_channels, kernel=kernel, stride=stride, dilation=dilation, groups=groups
    )
    return nn.Sequential(*pair, nn.ReLU(inplace=True))


def norm_relu_conv(
    channels: int, out_channels: int, *, kernel: int = 1, groups: int = 1
) -> nn.Sequential:
    """Build batch norm, ReLU and a convolution without bias, for input without an activation."""
    # Not in place: once batch norm is folded, the sum before it may have a second reader.
    convolution = nn.Conv2d(
        channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), convolution)


def separable(channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """Build a depthwise separable convolution, without an activation between its two parts."""
    return nn.Sequential(
        conv_norm(channels, channels, stride=stride, groups=channels),
        conv_norm_relu(channels, out_channels, kernel=1),
    )


def pre_activation_head(channels: int, middle: int, classes: int) -> nn.Sequential:
    """Build layers that turn features without an activation into logits of the same size."""
    return nn.Sequential(
        norm_relu_conv(channels, middle, kernel=3),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        nn.Conv2d(middle, classes, 1),
    )


def upsample(coarse: Tensor, fine: Tensor, *, factor: int) -> Tensor:
    """Upsample features bilinearly by an integer, and crop them to the size of finer ones.

    Downsampling rounds up, so the upsampled features are never too small, and no pixel moves at any
    size. Upsampling straight to the finer size would stretch by 45 / 23 instead of 2, and shift the
    far end by a pixel.

    Args:
        coarse: Features (N, C, ceil(H / factor), ceil(W / factor)).
        fine: Features (N, C', H, W).
        factor: How much coarser they are.
    """
    upsampled = functional.interpolate(
        coarse, scale_factor=float(factor), mode="bilinear", align_corners=False
    )
    return upsampled[:, :, : fine.shape[2], : fine.shape[3]]


def upsample_logits(logits: Tensor, height: int, *, width: int) -> Tensor:
    """Return (N, K, h, w) logits upsampled bilinearly to (N, K, height, width)."""
    return functional.interpolate(
        logits, size=(height, width), mode="bilinear", align_corners=False
    )


def initialize(network: nn.Module) -> None:
    """Initialize every convolution as He et al. (ICCV 2015) do, which preserves the variance."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


GRIDS = (1, 2, 3, 6)
"""Cells per side of the grids of PSPNet's pyramid."""

WINDOWS = ((5, 2), (9, 4), (17, 8))
"""Side and stride of the pooling windows of DDRNet and PIDNet, in coarsest feature pixels."""


class MultiScalePooling(nn.Module):
    """Average pooling over windows of three sizes and over the image, upsampled again.

    DDRNet (arXiv 2101.06085) introduced it; PIDNet has the same.
    """

    scales = len(WINDOWS) + 2

    def __init__(self, channels: int, width: int) -> None:
        """Build the five scales.

        Args:
            channels: Input channels.
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
        """Return (N, width, H, W) for each scale, from single pixels to the whole image."""
        scales = [self.here(features)]
        for window, step in zip(self.windows, self.steps, strict=True):
            scales.append(upsample(window(features), features, factor=step))
        # The mean of the image is the same everywhere: it stays 1x1 and is broadcast where it is
        # added.
        scales.append(self.whole(features.mean((2, 3), keepdim=True)))
        return scales


class DeepAggregation(nn.Module):
    """DAPPM of DDRNet: each scale is refined together with the output of the smaller ones."""

    def __init__(self, channels: int, width: int, out_channels: int) -> None:
        """Build the module.

        Args:
            channels: Input channels.
            width: Channels of each scale.
            out_channels: Output channels.
        """
        super().__init__()
        self.means = MultiScalePooling(channels, width)
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
        output: Tensor = self.join(torch.cat(refined, dim=1)) + self.shortcut(features)
        return output


class PyramidPooling(nn.Module):
    """Average pooling to grids of 1, 2, 3 and 6 cells per side: PSPNet, CVPR 2017, section 3.2."""

    def __init__(self, channels: int, out_channels: int) -> None:
        """Build the module.

        Args:
            channels: Channels that come in; each grid has a quarter of them.
            out_channels: Output channels.
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
        output: Tensor = self.join(torch.cat(levels, dim=1))
        return output


def grid_means(features: Tensor, grid: int) -> Tensor:
    """Return the mean of each cell of a grid: adaptive average pooling as two matrix products.

    Exporters turn adaptive pooling into windows for the one size that they traced. These matrices
    are computed from the actual size, and become constants where it is fixed.

    Args:
        features: (N, C, H, W).
        grid: Cells per side, G.

    Returns:
        Means, (N, C, G, G).
    """
    if grid == 1:
        # Runtimes take a matrix of one row for a vector.
        return features.mean((2, 3), keepdim=True)
    rows = cell_weights(features, features.shape[2], grid)
    columns = cell_weights(features, features.shape[3], grid)
    return rows @ features @ columns.transpose(0, 1)


def cell_weights(features: Tensor, side: int, grid: int) -> Tensor:
    """Return the weight of each of `side` pixels in the mean of each cell, (grid, side).

    Cells overlap where the grid does not divide the side.
    """
    cell = torch.arange(grid, device=features.device)[:, None]
    pixel = torch.arange(side, device=features.device)[None]
    # From floor(cell * side / grid) to ceil((cell + 1) * side / grid), as in PyTorch's adaptive
    # pooling, but without a division.
    inside = ((pixel + 1) * grid > cell * side) & (pixel * grid < (cell + 1) * side)
    weights = inside.to(features.dtype)
    return weights / weights.sum(1, keepdim=True)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(
        self, channels: int, out_channels: int, *, stride: int = 1, activated: bool = True
    ) -> None:
        """Build the block.

        Args:
            channels: Input channels.
            out_channels: Output channels.
            stride: Stride of the 3x3 convolution.
            activated: Whether it ends with ReLU; off where another branch is added first.
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
        output: Tensor = self.activation(self.body(features) + self.shortcut(features))
        return output


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1, with a shortcut; it ends without an activation."""

    def __init__(self, channels: int, middle: int, *, stride: int = 1) -> None:
        """Build the block.

        Args:
            channels: Input channels.
            middle: Channels of the 3x3 convolution; the output has twice as many.
            stride: Stride of the 3x3 convolution.
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
        output: Tensor = self.body(features) + self.shortcut(features)
        return output


def shortcut(channels: int, out_channels: int, *, stride: int) -> nn.Module:
    """Build the shortcut of a block: the identity where size and channels stay the same."""
    if stride == 1 and channels == out_channels:
        return nn.Identity()
    return conv_norm(channels, out_channels, kernel=1, stride=stride)


def stage(channels: int, out_channels: int, *, blocks: int, stride: int = 1) -> nn.Sequential:
    """Build a sequence of basic blocks, the last of which ends without an activation."""
    first = BasicBlock(channels, out_channels, stride=stride, activated=blocks > 1)
    others = [
        BasicBlock(out_channels, out_channels, activated=number < blocks)
        for number in range(2, blocks + 1)
    ]
    return nn.Sequential(first, *others)
