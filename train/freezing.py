"""Parts of a network that keep still while the others learn."""

from torch import nn

from segdeploy.errors import ConfigError

ENCODERS = (("backbone",), ("stem", "encoder"), ("encoder",))
"""Names under which networks hold what makes features of pictures; the first that are all there count."""


def encoder_of(network: nn.Module, name: str) -> list[nn.Module]:
    """Give the parts of a network that make features of pictures, and could be pretrained.

    Raises:
        ConfigError: It has no such part.
    """
    children = dict(network.named_children())
    for names in ENCODERS:
        if children.keys() >= set(names):
            return [children[part] for part in names]
    msg = f"the network {name!r} has no part called backbone or encoder that could be frozen; leave --freeze out"
    raise ConfigError(msg)


def hold(parts: list[nn.Module], *, still: bool) -> None:
    """Freeze parts, the statistics of their norms included, or let them learn."""
    for part in parts:
        part.requires_grad_(not still)
        part.train(not still)
