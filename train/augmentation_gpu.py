"""Colors and sharpness of a batch changed on its device by torchvision, which leaves the processor's cores to the reading."""

import torch
from torch import Tensor

from segdeploy.errors import MissingExtraError

from .augmentation import Tint, kernel

try:
    from torchvision.transforms.v2 import functional
except ImportError as error:
    raise MissingExtraError("torchvision", "train") from error  # noqa: EM101 - a name, not a message


def tint_all(images: Tensor, tints: Tensor) -> Tensor:
    """Change each image of a batch by its own tint.

    Args:
        images: (N, H, W, 3) uint8, red-green-blue.
        tints: Numbers of a tint for each, (N, 8), in the processor's memory, so that reading them
            makes nothing wait.
    """
    planes = images.permute(0, 3, 1, 2)
    changed = [
        tint_one(image, Tint.of(numbers))
        for image, numbers in zip(planes, tints.tolist(), strict=True)
    ]
    return torch.stack(changed).permute(0, 2, 3, 1)


def tint_one(image: Tensor, tint: Tint) -> Tensor:
    """Change one image, (3, H, W) uint8 red-green-blue.

    What the tint leaves alone costs nothing.
    """
    balance = (tint.red, tint.green, tint.blue)
    if balance != (1.0, 1.0, 1.0):
        # Channel by channel: a tensor of the factors would be copied to the device, and the
        # processor wait for all work before it.
        planes = [plane * factor for plane, factor in zip(image, balance, strict=True)]
        image = torch.stack(planes).round_().clamp_(0, 255).to(torch.uint8)
    if tint.hue:
        image = functional.adjust_hue(image, tint.hue)
    if tint.saturation != 1:
        image = functional.adjust_saturation(image, tint.saturation)
    if tint.brightness != 1:
        image = functional.adjust_brightness(image, tint.brightness)
    if tint.contrast != 1:
        image = functional.adjust_contrast(image, tint.contrast)
    if tint.blur:
        image = functional.gaussian_blur(image, [kernel(tint.blur)] * 2, [tint.blur] * 2)
    return image
