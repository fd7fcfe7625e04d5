"""Whether a batch is large enough for the network's norms, and small enough for the memory."""

from collections.abc import Callable

import torch
from torch import nn

from segdeploy.errors import ConfigError

from .recipe import Recipe


def min_batch(network: nn.Module) -> int:
    """Return the number of images that a network's norms need: its `least_batch`, by default 1."""
    least = getattr(network, "least_batch", 1)
    assert isinstance(least, int)
    return least


def check_batch(
    recipe: Recipe, network: nn.Module, *, images: int, processes: int, shared: bool
) -> None:
    """Check that every process has an image of each batch, and the norms as many as they need.

    Args:
        recipe: Its batch is that of all processes together.
        network: The network; see `min_batch`.
        images: Size of the training split; a batch has at most that many.
        processes: Number of processes that share a batch.
        shared: Whether norms compute their statistics over all processes, or each its own.

    Raises:
        ConfigError: There are too few images.
    """
    least = min_batch(network)
    needed = max(least, processes) if shared else least * processes
    batch = min(recipe.batch, images)
    if batch >= needed:
        return
    reason = (
        f"{recipe.model} pools whole images, whose norm needs at least {least}"
        if least > 1
        else "each needs at least one"
    )
    among = f" for {processes} processes" if processes > 1 else ""
    remedies = [f"--batch {needed}"] if recipe.batch < needed else []
    if images < needed:
        remedies.append(f"--overfit {needed}" if recipe.overfit else "more images")
    msg = f"batch is {batch}{among} and {reason}; use {' and '.join(remedies)}"
    raise ConfigError(msg)


def largest_batch(train_step: Callable[[int], object], batch: int, *, least: int = 1) -> int:
    """Return the largest batch that fits into memory, found by halving one that does not.

    0 where not even the smallest does.

    Args:
        train_step: Takes a whole step with a number of images; the network is useless afterwards.
        batch: Number of images that did not fit.
        least: Number of images that the network's norms need.
    """
    while (batch := batch // 2) >= least:
        if fits(train_step, batch):
            return batch
    return 0


def fits(train_step: Callable[[int], object], batch: int) -> bool:
    """Return whether a step with so many images fits into memory, and satisfies the norms."""
    torch.cuda.empty_cache()
    try:
        train_step(batch)
    except (torch.OutOfMemoryError, ValueError):
        return False
    return True


def advice(batch: int, fitting: int, *, least: int = 1, accumulate: int, device: str) -> str:
    """Return the message on a batch that does not fit into memory, with one that does.

    Args:
        batch: Number of images that did not fit.
        fitting: Number of images that does; 0 for none.
        least: Number of images that the network's norms need.
        accumulate: Batches in a step so far.
        device: Name of the device.
    """
    if not fitting:
        few = "one image fits" if least == 1 else f"{least} images, which this network needs, fit"
        return (
            f"not even {few} into the memory of {device}; lower --imgsz or --crop, or choose a"
            " smaller network"
        )
    steps = -(-batch * accumulate // fitting)
    return (
        f"a batch of {batch} does not fit into the memory of {device}, and {fitting} does, as"
        f" trying by halves showed; train with --batch {fitting}, and with --accumulate {steps} for"
        " steps of the same size"
    )
