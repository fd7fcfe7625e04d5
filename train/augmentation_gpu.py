"""Color jitter of a batch on its device, by torchvision: it leaves the CPU's cores to reading."""

import torch
from torch import Tensor

from segdeploy.errors import MissingExtraError

from .augmentation import ColorJitter, blur_kernel

try:
    from torchvision.transforms.v2 import functional
except ImportError as error:
    raise MissingExtraError("torchvision", "train") from error  # noqa: EM101 - a name


def jitter_batch(images: Tensor, jitter: Tensor) -> Tensor:
    """Return a batch in which each image's colors are changed by its own numbers.

    Args:
        images: (N, H, W, 3) uint8, red-green-blue.
        jitter: (N, 8), the numbers of a `ColorJitter` each, in the CPU's memory, so that reading
            them does not wait for the device.
    """
    changed = [
        jitter_image(image, ColorJitter.from_numbers(numbers))
        for image, numbers in zip(images.permute(0, 3, 1, 2), jitter.tolist(), strict=True)
    ]
    return torch.stack(changed).permute(0, 2, 3, 1)


def jitter_image(image: Tensor, jitter: ColorJitter) -> Tensor:
    """Return one changed image, (3, H, W) uint8 red-green-blue; factors of 1 cost nothing."""
    balance = (jitter.red, jitter.green, jitter.blue)
    if balance != (1.0, 1.0, 1.0):
        # Channel by channel: a tensor of the factors would be copied to the device, and the CPU
        # would wait for all work before it.
        planes = [plane * factor for plane, factor in zip(image, balance, strict=True)]
        image = torch.stack(planes).round_().clamp_(0, 255).to(torch.uint8)
    if jitter.hue:
        image = functional.adjust_hue(image, jitter.hue)
    if jitter.saturation != 1:
        image = functional.adjust_saturation(image, jitter.saturation)
    if jitter.brightness != 1:
        image = functional.adjust_brightness(image, jitter.brightness)
    if jitter.contrast != 1:
        image = functional.adjust_contrast(image, jitter.contrast)
    if jitter.blur:
        image = functional.gaussian_blur(image, [blur_kernel(jitter.blur)] * 2, [jitter.blur] * 2)
    return image
