"""The names of the networks, and the builder of each."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from torch import nn

from segdeploy.errors import ConfigError

Builder = Callable[..., nn.Module]
B = TypeVar("B", bound=Builder)

NETWORKS = "segdeploy.models.networks"

BUILT_IN: Mapping[str, str] = {
    "bisenetv2": "bisenetv2",
    "ddrnet23slim": "ddrnet",
    "deeplabv3plus": "deeplabv3plus",
    "fastscnn": "fastscnn",
    "lightfpn": "lightfpn",
    "pidnet_s": "pidnet",
    "regseg": "regseg",
    "unet": "unet",
}
"""Names of the package's own networks, and the module in `segdeploy.models.networks` that registers
each."""

_builders: dict[str, Builder] = {}


def register(name: str) -> Callable[[B], B]:
    """Return a builder a name: it takes the number of classes, K, and keyword arguments of its own.

    The network that it builds takes (N, 3, H, W) float32, normalized red-green-blue, and answers
    logits (N, K, h, w) at a size of its own, where h and w are H and W divided by a whole number.
    Its attribute `stride` is the number of which H and W must be multiples. No branch of its
    `forward` depends on a size, since an export would freeze that branch. Where it has auxiliary
    heads, they lie in its attribute `auxiliary`, and while it trains it answers a tuple of logits,
    the main ones first. Where it norms features of the whole image, its attribute `least_batch`
    is 2, since of one image alone there is one value to take a mean of.
    """

    def keep(builder: B) -> B:
        place = BUILT_IN.get(name)
        if name in _builders or (place and builder.__module__ != f"{NETWORKS}.{place}"):
            msg = f"the network {name!r} is registered twice; choose another name"
            raise ConfigError(msg)
        _builders[name] = builder
        return builder

    return keep


def names() -> list[str]:
    """Names of all registered networks, sorted."""
    return sorted({*BUILT_IN, *_builders})


def build(name: str, classes: int, **arguments: Any) -> nn.Module:  # noqa: ANN401 - each network has its own
    """Build a network with fresh weights.

    Args:
        name: Registered name, for example "unet".
        classes: Number of classes, K.
        arguments: What else the network takes, for example width.

    Raises:
        ConfigError: There is no network of that name, or it takes no such argument.
    """
    if name in BUILT_IN:
        import_module(f"{NETWORKS}.{BUILT_IN[name]}")
    if name not in _builders:
        msg = (
            f"there is no network {name!r}; choose one of {', '.join(names())}, or name the module"
            " that registers it: --plugin MODULE"
        )
        raise ConfigError(msg)
    try:
        return _builders[name](classes, **arguments)
    except TypeError as error:
        msg = f"the network {name!r} cannot be built with {arguments}: {error}"
        raise ConfigError(msg) from error
