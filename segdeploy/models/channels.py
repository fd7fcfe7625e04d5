"""Networks of color images, changed to take images of other channels."""

from collections.abc import Iterator

import torch
from torch import nn

from segdeploy.errors import ConfigError

RGB = 3
"""Channels of the images that networks are written for, and pretrained for."""


def first_convolutions(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv2d]]:
    """Yield the convolutions that take the image: their parent, their name in it, and themselves.

    A network with several branches has several.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.in_channels == RGB and child.groups == 1:
                yield parent, name, child


def take_channels(
    network: nn.Module, channels: int, *, name: str, pretrained: bool = False
) -> None:
    """Change a network of color images to take images of other channels.

    Pretrained filters become the mean of those of red, green and blue, scaled so that an image of
    equal channels is answered as before; others are drawn anew.

    Args:
        network: The network, which takes three channels.
        channels: How many it takes from now on.
        name: What the network is called in the message.
        pretrained: Whether its first filters were trained.

    Raises:
        ConfigError: No convolution of it takes three channels.
    """
    found = list(first_convolutions(network))
    if not found:
        msg = (
            f"the network {name!r} cannot take images of {channels} channels, since none of its"
            " convolutions takes the three of a color image; choose another network"
        )
        raise ConfigError(msg)
    for parent, attribute, old in found:
        new = nn.Conv2d(
            channels,
            old.out_channels,
            old.kernel_size,  # type: ignore[arg-type]
            stride=old.stride,  # type: ignore[arg-type]
            padding=old.padding,  # type: ignore[arg-type]
            dilation=old.dilation,  # type: ignore[arg-type]
            bias=old.bias is not None,
            padding_mode=old.padding_mode,
            device=old.weight.device,
            dtype=old.weight.dtype,
        )
        if pretrained:
            with torch.no_grad():
                mean = old.weight.mean(dim=1, keepdim=True) * (RGB / channels)
                new.weight.copy_(mean.expand_as(new.weight))
                if new.bias is not None and old.bias is not None:
                    new.bias.copy_(old.bias)
        setattr(parent, attribute, new)
    for module in network.modules():
        # Libraries compare it with the image's channels.
        if getattr(module, "num_channels", None) == RGB:
            setattr(module, "num_channels", channels)  # noqa: B010 - no known attribute
