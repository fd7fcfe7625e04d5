"""Networks by name: those of the package, and those that plugins register."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from torch import nn

from segdeploy.errors import ConfigError, MissingExtraError
from segdeploy.models.channels import RGB, take_channels

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

FAMILIES: Mapping[str, str] = {
    "code": "segdeploy.models.foreign",
    "hf": f"{PACKAGE}.transformers_networks",
    "smp": f"{PACKAGE}.smp_networks",
    "torchvision": f"{PACKAGE}.torchvision_networks",
}
"""Networks of other libraries, and of users' own code, are called FAMILY:MEMBER. The module of each
family, which imports the library, has `build(member, classes, **arguments)`."""

LIBRARIES = {"segmentation_models_pytorch", "torchvision", "transformers"}
"""Libraries of the families, which the extra `adopt` installs."""

_builders: dict[str, Builder] = {}


def register(name: str) -> Callable[[B], B]:
    """Return a decorator that registers a network under a name.

    The decorated class or function takes the number of classes, K, and keyword arguments of its
    own. The network takes (N, 3, H, W) float32 normalized RGB images and returns (N, K, h, w)
    logits, where h and w are H and W divided by the same integer. For images of other channels its
    first convolutions are replaced (`models.channels`). Further:

    - Its attribute `stride` is the number of which H and W must be multiples.
    - No branch of `forward` may depend on a size: an export would freeze that branch.
    - Auxiliary heads lie in its attribute `auxiliary`. In training mode it then returns a tuple of
      logits, the main ones first.
    - Where it takes images of one size only, its attribute `fixed_size` is their (height, width).
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


def is_known(name: str) -> bool:
    """Return whether a network of that name can be built, as far as its name tells."""
    family, colon, _ = name.partition(":")
    return family in FAMILIES if colon else name in names()


def _build_member(name: str, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network of another library, which is imported now.

    Raises:
        ConfigError: There is no such family or member, or it cannot be built.
        MissingExtraError: The library is not installed.
    """
    family, _, member = name.partition(":")
    if family not in FAMILIES:
        msg = f"there is no network {name!r}; other libraries are called {', '.join(FAMILIES)}"
        raise ConfigError(msg)
    try:
        module = import_module(FAMILIES[family])
    except ModuleNotFoundError as error:
        if error.name not in LIBRARIES:
            raise
        raise MissingExtraError(error.name, "adopt") from error
    network: nn.Module = module.build(member, classes, **arguments)
    return network


def build(
    name: str,
    classes: int,
    *,
    channels: int = RGB,
    **arguments: Any,  # noqa: ANN401
) -> nn.Module:
    """Build a network with randomly initialized weights.

    Args:
        name: Registered name, for example "unet", or FAMILY:MEMBER, for example "smp:Unet".
        classes: Number of classes, K.
        channels: Channels of the images that it takes.
        arguments: Keyword arguments of the network, for example its width.

    Raises:
        ConfigError: There is no network of that name, it takes no such argument, or images of three
            channels only.
        MissingExtraError: It belongs to a library that is not installed.
    """
    network = _build(name, classes, arguments)
    if channels != RGB:
        take_channels(network, channels, name=name)
    return network


def _build(name: str, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network for images of three channels."""
    if ":" in name:
        return _build_member(name, classes, arguments)
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


def check_size(network: nn.Module, size: tuple[int, int], *, name: str) -> None:
    """Check that a network takes images of a size, if it takes one only.

    Args:
        network: The network.
        size: Height and width in pixels.
        name: What the network is called in the message.

    Raises:
        ConfigError: It takes another size only.
    """
    fixed = getattr(network, "fixed_size", None)
    if fixed is not None and tuple(fixed) != size:
        msg = (
            f"{name} takes images of {fixed[0]}x{fixed[1]} only, not of {size[0]}x{size[1]}; give"
            f" --imgsz {fixed[0]},{fixed[1]}, or choose a network or backbone of any size"
        )
        raise ConfigError(msg)


def named(name: str, arguments: Mapping[str, Any]) -> str:
    """Return what a network is called in a message, with its backbone if it has a choice."""
    backbone = arguments.get("backbone")
    return f"{name} with the backbone {backbone}" if backbone else name
