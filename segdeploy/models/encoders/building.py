"""From a name to an encoder; the library that one of them needs is imported only then."""

from importlib import import_module

from segdeploy.errors import ConfigError
from segdeploy.models.encoders.encoder import Encoder

OUTPUT_STRIDES = (8, 16, 32)

TIMM = "timm:"
"""What the name of an encoder of timm begins with."""

PLACES = {
    "efficientnet_lite0": "efficientnet",
    "mobilenet_v3_large": "of_torchvision",
    "resnet101": "of_torchvision",
    "resnet50": "of_torchvision",
    "xception": "xception",
}
"""The module that builds each encoder."""

NAMES = tuple(PLACES)
"""Names of the encoders, besides those of timm."""


def build_encoder(name: str, *, output_stride: int) -> Encoder:
    """Build an encoder with fresh weights.

    Args:
        name: One of NAMES, or "timm:" and the name of an encoder of timm.
        output_stride: Stride of the coarsest features: 8, 16 or 32. What would halve further is dilated instead.

    Raises:
        ConfigError: There is none of that name, or it cannot have that stride.
        MissingExtraError: The library that it comes from is not installed.
    """
    place = "of_timm" if name.startswith(TIMM) else PLACES.get(name)
    if place is None:
        msg = f"there is no backbone {name!r}; choose one of {', '.join(NAMES)}, or {TIMM}NAME"
        raise ConfigError(msg)
    if output_stride not in OUTPUT_STRIDES:
        msg = f"output_stride is {output_stride!r}; it must be 8, 16 or 32"
        raise ConfigError(msg)
    encoder: Encoder = import_module(f"segdeploy.models.encoders.{place}").build(name.removeprefix(TIMM), output_stride)
    return encoder
