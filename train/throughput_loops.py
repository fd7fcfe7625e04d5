"""The loops that `throughput` compares: ours, the network alone, and a plain PyTorch loop."""

import time
from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from segdeploy import models
from segdeploy.arrays import IGNORE_INDEX
from segdeploy.backends.pytorch import choose_device, half_precision
from segdeploy.datasets.index import FileDataset
from segdeploy.errors import DataError
from segdeploy.imaging.header import open_image
from segdeploy.system.concurrency import process_context

from .loader import START_METHODS, Batch, choose_workers
from .recipe import Recipe
from .trainer import Trainer

ENDLESS = 1_000_000
"""Epochs of a schedule that no measurement reaches the end of."""

WARM_UP = 3
"""Steps that are not timed, at least: the first ones allocate memory and select algorithms."""

PLAIN_WORKERS = 4
"""Number of workers in tutorials, on any machine."""


def whole_loop(recipe: Recipe, steps: int) -> float:
    """Return the images per second of training as `segdeploy train` does.

    The cache is empty, as in a first epoch. Steps on batches that were read before the time starts
    are not timed.
    """
    trainer = Trainer(replace(recipe, epochs=ENDLESS))
    trainer.choose_precision()
    warm_up = max(WARM_UP, 2 * choose_workers(recipe))
    return time_steps(trainer, endless(trainer), steps=steps, warm_up=warm_up)


def limit(recipe: Recipe, steps: int, *, half: bool) -> float:
    """Return the images per second of the network alone; only a faster loss exceeds them.

    Its heads with PyTorch's cross entropy, PyTorch's fused AdamW, one batch on the device, and
    neither clipping nor an average of the weights.

    Args:
        recipe: Network, sizes and batch.
        steps: Timed steps.
        half: Whether the network computes in the device's half precision.
    """
    trainer = Trainer(recipe)
    device, network = trainer.device, trainer.loop.network.train()
    batch = next(endless(trainer))
    images, masks = batch.images.to(device), batch.masks.to(device).long()
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, fused=True)
    precision = half_precision(device) if half else None
    seconds = 0.0
    for number in (WARM_UP, steps):
        start = time.perf_counter()
        for _ in range(number):
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
                output = network(images)
            heads = (output,) if isinstance(output, Tensor) else output
            # A head of one channel detects boundaries, and has no classes.
            losses = [plain_loss(logits.float(), masks) for logits in heads if logits.shape[1] > 1]
            torch.autograd.backward(torch.stack(losses).sum())
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
    return steps * len(images) / seconds


def plain_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the cross entropy of logits upsampled to the masks, (N, H, W) int64."""
    full = functional.interpolate(logits, masks.shape[1:], mode="bilinear", align_corners=False)
    return functional.cross_entropy(full, masks, ignore_index=IGNORE_INDEX)


def endless(trainer: Trainer) -> Iterator[Batch]:
    """Return the batches of one epoch after the other."""
    for epoch in count():
        yield from trainer.loader.epoch(epoch)


def time_steps(trainer: Trainer, batches: Iterator[Batch], *, steps: int, warm_up: int) -> float:
    """Train, and return the images per second; `epoch` waits for the device at its end."""
    accumulate = trainer.recipe.accumulate
    for number in (warm_up, steps):
        start = time.perf_counter()
        group = islice(batches, number * accumulate)
        trainer.loop.epoch(0, group, names=trainer.names, on_step=lambda _: None)
        trainer.loop.close_epoch()
        seconds = time.perf_counter() - start
    return steps * trainer.recipe.batch * accumulate / seconds


class PlainDataset(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Images and masks decoded by Pillow and augmented by torchvision."""

    def __init__(self, files: FileDataset, recipe: Recipe) -> None:
        """Compose the transforms.

        Args:
            files: The training split.
            recipe: Strengths of the augmentation.
        """
        self._files = files
        padding = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORE_INDEX}
        dtypes = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
        self._transforms = v2.Compose(
            [
                v2.ScaleJitter(recipe.imgsz, recipe.scale, antialias=True),
                v2.RandomCrop(recipe.train_size, pad_if_needed=True, fill=padding),
                v2.RandomHorizontalFlip(recipe.flip),
                v2.ColorJitter(recipe.color, recipe.color, recipe.color, recipe.hue),
                v2.ToDtype(dtypes, scale=True),
                v2.Normalize(recipe.mean, recipe.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._files.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one sample; the ids modulo the classes cost as much as a lookup."""
        pair = self._files.pairs[index]
        if pair.mask is None:
            msg = (
                f"{pair.image} has no mask that Pillow can read; measure with a dataset whose masks"
                " are images"
            )
            raise DataError(msg)
        ids = np.asarray(open_image(pair.mask).convert("L")) % len(self._files.classes)
        image = tv_tensors.Image(open_image(pair.image).convert("RGB"))
        sample: tuple[Tensor, Tensor] = self._transforms(image, tv_tensors.Mask(ids))
        return sample


def plain_loop(
    recipe: Recipe, files: FileDataset, steps: int, *, warm_up: int, workers: int = PLAIN_WORKERS
) -> float:
    """Return the images per second of the same network in a loop as tutorials have it.

    Single precision, default memory layout, cross entropy.

    Args:
        recipe: Network, sizes, batch and learning rate.
        files: The training split.
        steps: Timed steps.
        warm_up: Steps before that.
        workers: Processes that read.
    """
    device = choose_device(recipe.device)
    network = models.build(recipe.model, len(files.classes), **recipe.arguments).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr)
    loader = DataLoader(
        PlainDataset(files, recipe),
        batch_size=recipe.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        multiprocessing_context=process_context(*START_METHODS) if workers else None,
    )
    batches = (batch for _ in count() for batch in loader)
    seconds = 0.0
    for number in (warm_up, steps):
        start = time.perf_counter()
        for images, masks in islice(batches, number):
            optimizer.zero_grad()
            output = network(images.to(device))
            logits = output if isinstance(output, Tensor) else output[0]
            loss = plain_loss(logits, masks.to(device))
            torch.autograd.backward(loss)
            optimizer.step()
            # Every tutorial prints it.
            loss.item()
        seconds = time.perf_counter() - start
    return steps * recipe.batch / seconds
