"""A limit of the time of a run: how many steps fit, and when an epoch has to end."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from .data import Splits
from .distributed import SINGLE_PROCESS, Processes
from .loader import Batch
from .loop import Loop
from .precision import random_batch
from .recipe import Recipe

RESERVE, RESERVE_SHARE = 6.0, 0.07
"""Seconds at the end for checkpoints and plots, or this share of the time if that is more: a
machine with other work takes much longer for them."""

CAUTION = 0.93
"""Share of the time left that is planned with: what is measured varies."""

FORWARD = 1 / 3
"""Time of a pass without gradients, as a share of a training step on as many pixels."""


class TimeLimit:
    """The time that a run has left, and what its steps and validations take.

    Attributes:
        over: Whether an epoch was ended because the time is over.
    """

    def __init__(
        self,
        seconds: float,
        *,
        batch: float,
        validation: float,
        steps: int,
        epochs: int,
        processes: Processes = SINGLE_PROCESS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the time.

        Args:
            seconds: Seconds from now to the end of the last validation.
            batch: Seconds that a batch takes; 0 where it is not known yet.
            validation: Seconds that a validation takes; 0 where it is not known yet.
            steps: Steps in an epoch.
            epochs: Largest number of epochs of the run.
            processes: All that take part.
            clock: Returns seconds.
        """
        self._batch, self._validation, self._clock = batch, validation, clock
        self._steps, self._most = steps, steps * epochs
        self._processes = processes
        self._end = clock() + seconds
        self.over = False

    def measure(self, *, batch: float, validation: float | None) -> None:
        """Move the duration of a batch halfway to the last epoch's, which other work disturbs.

        Args:
            batch: Seconds of a batch.
            validation: Seconds of the validation, which are taken as they are; None where there was
                none.
        """
        self._batch = (self._batch + batch) / 2 if self._batch else batch
        if validation is not None:
            self._validation = validation

    def plan(self, loop: Loop, recipe: Recipe) -> int:
        """Let the rest of a run have the steps that fit, and return its number of epochs.

        Args:
            loop: Its number of steps is changed, which the learning rate follows.
            recipe: Says how many batches a step has, and how often is validated.
        """
        steps = self.fitting(accumulate=recipe.accumulate, val_every=recipe.val_every)
        # All processes have the same plan, the shortest.
        loop.total = min(loop.step + min(self._processes.gather(steps)), self._most)
        return math.ceil(loop.total / self._steps)

    def fitting(self, *, accumulate: int, val_every: int) -> int:
        """Return how many steps fit into the time that is left, the last validation included.

        Args:
            accumulate: Batches in a step.
            val_every: Epochs from one validation to the next.
        """
        per_step = self._batch * accumulate + self._validation / (val_every * self._steps)
        if not per_step:
            return self._most
        left = (self._end - self._clock()) * CAUTION - self._validation
        return max(1, int(left / per_step))

    def in_time(self, batches: Iterable[Batch], most: int) -> Iterator[Batch]:
        """Yield the batches that the time is enough for, at least one.

        Several processes, which would wait for each other, do not look at the clock here.

        Args:
            batches: The batches of an epoch.
            most: How many batches are left of the plan.
        """
        for number, batch in enumerate(islice(batches, most)):
            late = self._clock() > self._end - self._validation
            self.over = late and number > 0 and self._processes.size == 1
            if self.over:
                return
            yield batch


def start_limit(
    recipe: Recipe, loop: Loop, splits: Splits, *, used: float, processes: Processes
) -> TimeLimit:
    """Return the limit of a run, with durations that are measured on a processor.

    Args:
        recipe: Its minutes, and the size of its batches.
        loop: The training loop; it stays as it was.
        splits: The images.
        used: Seconds that the run has had before.
        processes: All that take part.
    """
    seconds = validation = 0.0
    begin = time.monotonic()
    if not loop.on_device:
        images = max(1, min(recipe.batch, len(splits.train)) // processes.size)
        seconds = step_seconds(recipe, loop, images=images, classes=len(splits.train.classes))
        pixels, crop = (math.prod(size) for size in (recipe.imgsz, recipe.train_size))
        share = len(splits.val) / processes.size / images
        validation = FORWARD * seconds * share * pixels / crop
    reserve = max(RESERVE, RESERVE_SHARE * 60 * recipe.minutes)
    return TimeLimit(
        60 * recipe.minutes - reserve - used - (time.monotonic() - begin),
        batch=seconds,
        validation=validation,
        steps=loop.total // recipe.epochs,
        epochs=recipe.epochs,
        processes=processes,
    )


def step_seconds(recipe: Recipe, loop: Loop, *, images: int, classes: int) -> float:
    """Return how long a step on random images takes on a processor, the faster of two.

    Args:
        recipe: The size of the images.
        loop: The training loop; it stays as it was.
        images: Images of the batch.
        classes: Number of classes.
    """
    batch = random_batch(recipe, images, classes=classes)
    return min(elapsed(partial(loop.trial, batch, loop.precision)) for _ in range(2))


def elapsed(work: Callable[[], object]) -> float:
    """Return how many seconds a function takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
