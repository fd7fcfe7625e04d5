"""Parts that several networks are built of."""

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    Answer = Tensor | tuple[Tensor, ...]
else:
    Answer = Any  # TorchScript reads annotations, and knows no tuple of any length.
"""Logits; while a network with auxiliary heads trains, a tuple of logits, the main ones first."""


def conv_norm(channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    """Build a convolution and batch norm; the answer's size is that of the input divided by the stride, rounded up.

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
    convolution = nn.Conv2d(channels, out_channels, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


def conv_norm_relu(
    channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Build what `conv_norm` builds, and ReLU behind it."""
    pair = conv_norm(channels, out_channels, kernel=kernel, stride=stride, dilation=dilation, groups=groups)
    return nn.Sequential(*pair, nn.ReLU(inplace=True))


def norm_relu_conv(channels: int, out_channels: int, *, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    """Build batch norm, ReLU and a convolution without bias, for features that come without an activation."""
    # Not in place: where the norm is folded away the sum before it may have a second reader.
    convolution = nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), convolution)


def separable(channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """Build a 3x3 convolution channel by channel and a 1x1 convolution that mixes them, with no activation in between."""
    return nn.Sequential(conv_norm(channels, channels, stride=stride, groups=channels), conv_norm_relu(channels, out_channels, kernel=1))


def head_without_activation(channels: int, middle: int, classes: int) -> nn.Sequential:
    """Build what turns features that come without an activation into logits of the same size."""
    return nn.Sequential(norm_relu_conv(channels, middle, kernel=3), nn.BatchNorm2d(middle), nn.ReLU(), nn.Conv2d(middle, classes, 1))


def enlarge(coarse: Tensor, fine: Tensor, *, factor: int) -> Tensor:
    """Enlarge features by a whole factor, bilinearly, and cut them to the size of finer ones.

    Halving rounds up, so that there is always enough to cut; no pixel moves at any size. To enlarge straight to the
    finer size would stretch by 45 / 23 instead of 2, and shift the far end by a pixel.

    Args:
        coarse: Features (N, C, ceil(H / factor), ceil(W / factor)).
        fine: Features (N, C', H, W).
        factor: How much coarser they are.
    """
    enlarged = functional.interpolate(coarse, scale_factor=float(factor), mode="bilinear", align_corners=False)
    return enlarged[:, :, : fine.shape[2], : fine.shape[3]]


def initialize(network: nn.Module) -> None:
    """Draw the weights of every convolution as He et al. (ICCV 2015) do, so that ReLU keeps the variance."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
