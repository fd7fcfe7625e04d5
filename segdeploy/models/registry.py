"""Networks by name: those of the package, and those that plugins register."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from torch import nn

from segdeploy.errors import ConfigError

Builder = Callable[..., nn.Module]
B = TypeVar("B", bound=Builder)

PACKAGE = "segdeploy.models.networks"

BUILT_IN: Mapping[str, str] = {
    "bisenetv2": f"{PACKAGE}.bisenetv2",
    "ddrnet23slim": f"{PACKAGE}.ddrnet",
    "deeplabv3plus": f"{PACKAGE}.deeplabv3plus",
    "fastscnn": f"{PACKAGE}.fastscnn",
    "lightfpn": f"{PACKAGE}.lightfpn",
    "pidnet_s": f"{PACKAGE}.pidnet",
    "regseg": f"{PACKAGE}.regseg",
    "unet": f"{PACKAGE}.unet",
}
"""Names of the package's own networks, with the module that registers each; it is imported when the
network is built."""

_builders: dict[str, Builder] = {}


def register(name: str) -> Callable[[B], B]:
    """Return a decorator that registers a network under a name.

    The decorated class or function takes the number of classes, K, and keyword arguments of its
    own. The network takes (N, 3, H, W) float32 normalized RGB images and returns (N, K, h, w)
    logits, where h and w are H and W divided by the same integer. Further:

    - Its attribute `stride` is the number of which H and W must be multiples.
    - No branch of `forward` may depend on a size: an export would freeze that branch.
    - Auxiliary heads lie in its attribute `auxiliary`. In training mode it then returns a tuple of
      logits, the main ones first.
    - Where it normalizes pooled features of the whole image, its attribute `least_batch` is 2:
      batch norm cannot train on a single value.

    Example:
        ```python
        @register("tiny")
        class Tiny(nn.Module):
            stride = 1

            def __init__(self, classes: int, *, width: int = 8) -> None: ...
        ```

    Raises:
        ConfigError: The name is taken; raised when the decorator is applied.
    """

    def decorate(builder: B) -> B:
        built_in_elsewhere = name in BUILT_IN and builder.__module__ != BUILT_IN[name]
        if name in _builders or built_in_elsewhere:
            msg = f"the network {name!r} is registered twice; choose another name"
            raise ConfigError(msg)
        _builders[name] = builder
        return builder

    return decorate


def names() -> list[str]:
    """Return the names of all networks, sorted."""
    return sorted({*BUILT_IN, *_builders})


def build(name: str, classes: int, **arguments: Any) -> nn.Module:  # noqa: ANN401
    """Build a network with randomly initialized weights.

    Args:
        name: Registered name, for example "unet".
        classes: Number of classes, K.
        arguments: Keyword arguments of the network, for example its width.

    Raises:
        ConfigError: There is no network of that name, or it takes no such argument.
    """
    if name in BUILT_IN:
        import_module(BUILT_IN[name])
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
