"""The training loop that people write, to measure ours against: only what tutorials have, and nothing made slow on purpose."""

import time
from itertools import count, islice

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from segdeploy import models
from segdeploy.backends.eager import choose_device
from segdeploy.datasets.layout import Files
from segdeploy.errors import DataError
from segdeploy.scores import IGNORED

from .loader import FRESH
from .recipe import Recipe

WORKERS = 4
"""Number of workers that tutorials have, on any machine."""


class Pictures(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Pictures and truth decoded by Pillow and changed by torchvision, one by one."""

    def __init__(self, files: Files, recipe: Recipe) -> None:
        """Compose the transforms.

        Args:
            files: The training split.
            recipe: Says how pictures are changed.
        """
        self._files = files
        self._transforms = v2.Compose(
            [
                v2.ScaleJitter(recipe.imgsz, recipe.scale, antialias=True),
                v2.RandomCrop(recipe.seen, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED}),
                v2.RandomHorizontalFlip(recipe.flip),
                v2.ColorJitter(recipe.color, recipe.color, recipe.color, recipe.hue),
                v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
                v2.Normalize(recipe.mean, recipe.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._files.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read one sample; the ids are folded into the classes' range, which costs what the usual look-up does."""
        pair = self._files.pairs[index]
        if pair.mask is None:
            msg = f"{pair.image} has no mask that Pillow could read; measure with a data set whose truth lies in pictures"
            raise DataError(msg)
        ids = np.asarray(Image.open(pair.mask).convert("L")) % len(self._files.classes)
        image = tv_tensors.Image(Image.open(pair.image).convert("RGB"))
        changed: tuple[Tensor, Tensor] = self._transforms(image, tv_tensors.Mask(ids))
        return changed


def plain_loop(recipe: Recipe, files: Files, steps: int, *, untimed: int, workers: int = WORKERS) -> float:
    """Give the pictures a second of the same network in single precision and default layout, with cross entropy.

    Args:
        recipe: Gives network, sizes, batch and optimizer's rates.
        files: The training split.
        steps: Steps that are timed.
        untimed: Steps before that.
        workers: Processes that read.
    """
    device = choose_device(recipe.device)
    network = models.build(recipe.model, len(files.classes), **recipe.arguments).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr)
    samples = Pictures(files, recipe)
    start_method = FRESH if workers else None
    loader = DataLoader(
        samples, batch_size=recipe.batch, shuffle=True, drop_last=True, num_workers=workers, multiprocessing_context=start_method
    )
    batches = (batch for _ in count() for batch in loader)
    seconds = 0.0
    for number in (untimed, steps):
        start = time.perf_counter()
        for images, masks in islice(batches, number):
            optimizer.zero_grad()
            answer = network(images.to(device))
            logits = answer if isinstance(answer, Tensor) else answer[0]
            full = functional.interpolate(logits, masks.shape[1:], mode="bilinear", align_corners=False)
            loss = functional.cross_entropy(full, masks.to(device), ignore_index=IGNORED)
            torch.autograd.backward(loss)
            optimizer.step()
            # Every tutorial prints it.
            loss.item()
        seconds = time.perf_counter() - start
    return steps * recipe.batch / seconds
