"""Networks of torchvision: FCN, DeepLabV3 and LR-ASPP, as `torchvision:NAME`."""

from typing import Any

from torch import nn
from torchvision.models import segmentation

from segdeploy.errors import ConfigError
from segdeploy.models.foreign import LogitsModule

NAMES = (
    "deeplabv3_mobilenet_v3_large",
    "deeplabv3_resnet101",
    "deeplabv3_resnet50",
    "fcn_resnet101",
    "fcn_resnet50",
    "lraspp_mobilenet_v3_large",
)


def build(member: str, classes: int, **arguments: Any) -> nn.Module:  # noqa: ANN401
    """Build a network with random weights.

    Args:
        member: Name of its function in torchvision, one of NAMES.
        classes: Number of classes.
        arguments: "aux_loss" for an auxiliary head, which training uses.

    Raises:
        ConfigError: There is no such network.
    """
    if member not in NAMES:
        msg = f"torchvision has no network {member!r}; choose one of {', '.join(NAMES)}"
        raise ConfigError(msg)
    builder = getattr(segmentation, member)
    network = builder(weights=None, weights_backbone=None, num_classes=classes, **arguments)
    # They upsample their logits to the size of the image, whatever it is.
    return LogitsModule(network, stride=1)
