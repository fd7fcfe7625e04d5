"""Residual blocks: He et al., CVPR 2016, as the networks with a branch of high resolution use them."""

from torch import Tensor, nn

from segdeploy.models.blocks import conv_norm, conv_norm_relu


class Basic(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int, out_channels: int, *, stride: int = 1, activated: bool = True) -> None:
        """Build the block.

        Args:
            channels: Channels that come in.
            out_channels: Channels that go out.
            stride: How much smaller the answer is.
            activated: Whether ReLU ends it; where another branch is added first, it must not.
        """
        super().__init__()
        self.body = nn.Sequential(conv_norm_relu(channels, out_channels, stride=stride), conv_norm(out_channels, out_channels))
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
    others = [Basic(out_channels, out_channels, activated=number < blocks) for number in range(2, blocks + 1)]
    return nn.Sequential(first, *others)
