"""Networks of segmentation-models-pytorch, as `smp:NAME`, for example `smp:Unet`."""

from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from segdeploy.errors import ConfigError
from segdeploy.models.foreign import LogitsModule, offline

NAMES = (
    "DPT",
    "DeepLabV3",
    "DeepLabV3Plus",
    "FPN",
    "Linknet",
    "MAnet",
    "PAN",
    "PSPNet",
    "Segformer",
    "UPerNet",
    "Unet",
    "UnetPlusPlus",
)


def build(member: str, classes: int, **arguments: Any) -> nn.Module:  # noqa: ANN401
    """Build a network with random weights.

    Args:
        member: Name of its class, one of NAMES.
        classes: Number of classes.
        arguments: Arguments of that class, for example `encoder_name`.

    Raises:
        ConfigError: There is no such network, or it cannot be built with these arguments.
    """
    if member not in NAMES:
        msg = f"segmentation-models-pytorch has no {member!r}; choose one of {', '.join(NAMES)}"
        raise ConfigError(msg)
    own = {"encoder_weights": None, "activation": None, "classes": classes, "in_channels": 3}
    try:
        with offline():
            network = getattr(smp, member)(**{**arguments, **own})
    # The library raises KeyError for an unknown encoder, and others for the rest.
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        msg = f"smp:{member} cannot be built with {arguments}: {reason}"
        raise ConfigError(msg) from error
    return LogitsModule(network, stride=int(getattr(network.encoder, "output_stride", 32)))
