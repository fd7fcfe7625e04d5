"""Parts that several networks are built of."""

from torch import nn


def conv_norm_relu(channels: int, out_channels: int) -> nn.Sequential:
    """Build a 3x3 convolution, batch norm and ReLU that keep the size.

    The convolution has no bias: the norm takes the mean away and adds a shift of its own.

    Args:
        channels: Channels that come in.
        out_channels: Channels that go out.
    """
    convolution = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def initialize(network: nn.Module) -> None:
    """Draw the weights of every convolution as He et al. (ICCV 2015) do, so that ReLU keeps the variance."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
