"""What lies around a pixel: means over windows of several sizes, in forms that export at any size."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segdeploy.models.blocks import conv_norm_relu, enlarge, norm_relu_conv

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
            [nn.Sequential(nn.AvgPool2d(side, step, side // 2), norm_relu_conv(channels, width)) for side, step in WINDOWS]
        )
        self.steps = tuple(step for _, step in WINDOWS)
        self.whole = norm_relu_conv(channels, width)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Give (N, width, H, W) for each scale, from a pixel itself to everything."""
        scales = [self.here(features)]
        for window, step in zip(self.windows, self.steps, strict=True):
            scales.append(enlarge(window(features), features, factor=step))
        # The mean of everything is the same everywhere: it is left 1x1 and broadcast where it is added.
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
        self.refine = nn.ModuleList([norm_relu_conv(width, width, kernel=3) for _ in range(self.means.scales - 1)])
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
    """Means over a grid of 1, 2, 3 and 6 cells a side: PSPNet (Zhao et al., CVPR 2017), section 3.2."""

    def __init__(self, channels: int, out_channels: int) -> None:
        """Build the module.

        Args:
            channels: Channels that come in; each grid has a quarter of them.
            out_channels: Channels that go out.
        """
        super().__init__()
        self.grids = GRIDS
        self.reduce = nn.ModuleList([conv_norm_relu(channels, channels // 4, kernel=1) for _ in self.grids])
        self.join = conv_norm_relu(channels + len(self.grids) * (channels // 4), out_channels, kernel=1)

    def forward(self, features: Tensor) -> Tensor:
        """Turn (N, C, H, W) into (N, C', H, W) features."""
        size = features.shape[2:]
        levels = [features]
        for grid, reduce in zip(self.grids, self.reduce, strict=True):
            level = reduce(grid_means(features, grid))
            levels.append(functional.interpolate(level, size=size, mode="bilinear", align_corners=False))
        answer: Tensor = self.join(torch.cat(levels, dim=1))
        return answer


def grid_means(features: Tensor, grid: int) -> Tensor:
    """Give the mean of each cell of a grid: adaptive average pooling as two products of matrices.

    Exporters turn adaptive pooling into windows of the size that they happened to see; these matrices are computed
    from the size, and are constants where it is fixed.

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
    """Give the weight of each of `side` pixels in the mean of each cell, (grid, side); cells overlap where the grid does not fit."""
    cell = torch.arange(grid, device=features.device)[:, None]
    pixel = torch.arange(side, device=features.device)[None]
    # From floor(cell * side / grid) to ceil((cell + 1) * side / grid), as PyTorch's adaptive pooling has them; without a division.
    inside = ((pixel + 1) * grid > cell * side) & (pixel * grid < (cell + 1) * side)
    weights = inside.to(features.dtype)
    return weights / weights.sum(1, keepdim=True)
