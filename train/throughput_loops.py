"""Training throughput: our loop, its bound, a plain loop."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice, repeat

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from segdeploy import models
from segdeploy.arrays import IGNORE_INDEX
from segdeploy.backends.torch_device import choose_device
from segdeploy.datasets.index import Files
from segdeploy.errors import DataError

from .augmentation_gpu import tint_all
from .loader import FRESH, Batch, choose_workers
from .recipe import Recipe
from .trainer import Run

ENDLESS = 1_000_000
"""Epochs of a schedule that no measurement comes to the end of."""

SETTLED = 3
"""Steps that are not timed at least: the first ones find memory, and the fastest way of a
convolution."""


def whole_loop(recipe: Recipe, steps: int) -> float:
    """Return the images a second of the loop as it trains.

    Read, cut, changed, copied and learned from.

    Nothing was read before, so that the images are decoded, as in a first epoch. Steps that live
    on batches read ahead before the time begins are not timed.
    """
    run = Run(replace(recipe, epochs=ENDLESS))
    ahead = 2 * choose_workers(recipe)
    return timed(run, endless(run), steps=steps, untimed=max(SETTLED, ahead))


def bare_steps(recipe: Recipe, steps: int) -> float:
    """Return the images a second of the same steps on one batch that lies on the device already: the limit of any loop around them."""
    run = Run(replace(recipe, epochs=ENDLESS))
    batch = next(endless(run))
    images, masks = (part.to(run.device) for part in (batch.images, batch.masks))
    if batch.tints.shape[1]:
        images = tint_all(images, batch.tints)
    still = Batch(images, masks, batch.indices, batch.tints[:, :0])
    return timed(run, repeat(still), steps=steps, untimed=SETTLED)


def endless(run: Run) -> Iterator[Batch]:
    """Return the batches of one epoch after the other."""
    for epoch in count():
        yield from run.loader.epoch(epoch)


def timed(run: Run, batches: Iterator[Batch], *, steps: int, untimed: int) -> float:
    """Learn, and give the images a second.

    Each part ends when the device has done all that it was given.
    """
    for number in (untimed, steps):
        start = time.perf_counter()
        run.loop.epoch(
            0, islice(batches, number * run.recipe.accumulate), names=run.names, on_step=ignore
        )
        run.loop.close_epoch()
        seconds = time.perf_counter() - start
    return steps * run.recipe.batch * run.recipe.accumulate / seconds


def ignore(_: str) -> None:
    """Show no bar."""


WORKERS = 4
"""Number of workers that tutorials have, on any machine."""


class Pictures(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Images and truth decoded by Pillow and changed by torchvision, one by one."""

    def __init__(self, files: Files, recipe: Recipe) -> None:
        """Compose the transforms.

        Args:
            files: The training split.
            recipe: Says how images are changed.
        """
        self._files = files
        self._transforms = v2.Compose(
            [
                v2.ScaleJitter(recipe.imgsz, recipe.scale, antialias=True),
                v2.RandomCrop(
                    recipe.seen,
                    pad_if_needed=True,
                    fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORE_INDEX},
                ),
                v2.RandomHorizontalFlip(recipe.flip),
                v2.ColorJitter(recipe.color, recipe.color, recipe.color, recipe.hue),
                v2.ToDtype(
                    {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None},
                    scale=True,
                ),
                v2.Normalize(recipe.mean, recipe.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._files.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read one sample; the ids are folded into the classes' range, which costs what the usual look-up does."""
        pair = self._files.pairs[index]
        if pair.mask is None:
            msg = (
                f"{pair.image} has no mask that Pillow could read; measure with a dataset whose"
                " truth lies in images"
            )
            raise DataError(msg)
        ids = np.asarray(Image.open(pair.mask).convert("L")) % len(self._files.classes)
        image = tv_tensors.Image(Image.open(pair.image).convert("RGB"))
        changed: tuple[Tensor, Tensor] = self._transforms(image, tv_tensors.Mask(ids))
        return changed


def plain_loop(
    recipe: Recipe, files: Files, steps: int, *, untimed: int, workers: int = WORKERS
) -> float:
    """Return the images a second of the same network in single precision and default layout, with cross entropy.

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
        samples,
        batch_size=recipe.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        multiprocessing_context=start_method,
    )
    batches = (batch for _ in count() for batch in loader)
    seconds = 0.0
    for number in (untimed, steps):
        start = time.perf_counter()
        for images, masks in islice(batches, number):
            optimizer.zero_grad()
            answer = network(images.to(device))
            logits = answer if isinstance(answer, Tensor) else answer[0]
            full = functional.interpolate(
                logits, masks.shape[1:], mode="bilinear", align_corners=False
            )
            loss = functional.cross_entropy(full, masks.to(device), ignore_index=IGNORE_INDEX)
            torch.autograd.backward(loss)
            optimizer.step()
            # Every tutorial prints it.
            loss.item()
        seconds = time.perf_counter() - start
    return steps * recipe.batch / seconds
