"""How many pictures a second a training learns from, and how many it could if they cost nothing."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice, repeat

from .loader import Batch, choose_workers
from .recipe import Recipe
from .tinting import tint_all
from .training import Run

ENDLESS = 1_000_000
"""Epochs of a schedule that no measurement comes to the end of."""

SETTLED = 3
"""Steps that are not timed at least: the first ones find memory, and the fastest way of a convolution."""


def whole_loop(recipe: Recipe, steps: int) -> float:
    """Give the pictures a second of the loop as it trains: read, cut, changed, copied and learned from.

    Nothing was read before, so that the pictures are decoded, as in a first epoch. Steps that live on batches read ahead before the
    time begins are not timed.
    """
    run = Run(replace(recipe, epochs=ENDLESS))
    ahead = 2 * choose_workers(recipe)
    return timed(run, endless(run), steps=steps, untimed=max(SETTLED, ahead))


def bare_steps(recipe: Recipe, steps: int) -> float:
    """Give the pictures a second of the same steps on one batch that lies on the device already: the limit of any loop around them."""
    run = Run(replace(recipe, epochs=ENDLESS))
    batch = next(endless(run))
    images, masks = (part.to(run.device) for part in (batch.images, batch.masks))
    if batch.tints.shape[1]:
        images = tint_all(images, batch.tints)
    still = Batch(images, masks, batch.indices, batch.tints[:, :0])
    return timed(run, repeat(still), steps=steps, untimed=SETTLED)


def endless(run: Run) -> Iterator[Batch]:
    """Give the batches of one epoch after the other."""
    for epoch in count():
        yield from run.loader.epoch(epoch)


def timed(run: Run, batches: Iterator[Batch], *, steps: int, untimed: int) -> float:
    """Learn, and give the pictures a second; each part ends when the device has done all that it was given."""
    for number in (untimed, steps):
        start = time.perf_counter()
        run.loop.epoch(0, islice(batches, number * run.recipe.accumulate), names=run.names, on_step=ignore)
        run.loop.close_epoch()
        seconds = time.perf_counter() - start
    return steps * run.recipe.batch * run.recipe.accumulate / seconds


def ignore(_: str) -> None:
    """Show no bar."""
