"""Parts of a network that keep still while the others learn."""

from torch import nn

from segdeploy.errors import ConfigError

ENCODERS = ("stem", "encoder", "backbone")
"""Names under which networks hold what can be pretrained."""


def encoder_of(network: nn.Module, name: str) -> list[nn.Module]:
    """Give the parts of a network that make features of pictures.

    Raises:
        ConfigError: It has no such part.
    """
    parts = [part for part in (getattr(network, attribute, None) for attribute in ENCODERS) if isinstance(part, nn.Module)]
    if not parts:
        msg = f"the network {name!r} has no part called {' or '.join(ENCODERS)} that could be frozen; leave --freeze out"
        raise ConfigError(msg)
    return parts


def hold(parts: list[nn.Module], *, still: bool) -> None:
    """Freeze parts, the statistics of their norms included, or let them learn."""
    for part in parts:
        part.requires_grad_(not still)
        part.train(not still)
