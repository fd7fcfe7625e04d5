"""Samples on their way to the device: shuffled, augmented, in batches, read ahead by processes."""

import multiprocessing
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from segdeploy.datasets import Dataset
from segdeploy.errors import SegdeployError
from segdeploy.machine import cores

from .augment import augment, chance
from .recipe import Recipe

Batch = tuple[Tensor, Tensor]
"""Pictures (N, H, W, 3) uint8 red-green-blue, and masks (N, H, W) uint8."""

MAX_WORKERS = 8

FRESH = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How a worker starts: as a fresh process, not as a copy of this one."""


class Augmented(torch.utils.data.Dataset[Batch | SegdeployError]):
    """The samples of a data set as an epoch sees them."""

    def __init__(self, samples: Dataset, recipe: Recipe) -> None:
        """Wrap a data set.

        Args:
            samples: Where the samples come from.
            recipe: Says how they are changed.
        """
        self._samples = samples
        self._recipe = recipe

    def __getitem__(self, place: tuple[int, int]) -> Batch | SegdeployError:
        """Give sample `index` of an epoch, whichever process asks and whatever was asked before.

        Args:
            place: Epoch and index.

        Returns:
            Picture and mask, or what is wrong with the sample: raised in a worker it would lose its sentence in a traceback.
        """
        epoch, index = place
        try:
            sample = self._samples[index]
        except SegdeployError as error:
            return error
        image, mask = augment(sample.image, sample.mask, self._recipe, chance(self._recipe, epoch, index=index))
        return torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)), torch.from_numpy(mask)


class Shuffle(Sampler[list[tuple[int, int]]]):
    """Batches of places in an order that follows from the seed and the epoch alone, so that a run can go on anywhere."""

    def __init__(self, samples: int, recipe: Recipe) -> None:
        """Start with the first epoch.

        Args:
            samples: How many there are.
            recipe: Gives seed and batch.
        """
        self.epoch = 0
        self._samples = samples
        self._recipe = recipe

    def __len__(self) -> int:
        """Number of batches; an incomplete last one is left out, since the norms would weigh its few pictures as much."""
        return max(1, self._samples // self._recipe.batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Give the batches of the epoch that `epoch` names."""
        order = np.random.default_rng((self._recipe.seed, self.epoch)).permutation(self._samples).tolist()
        for start in range(0, len(self) * self._recipe.batch, self._recipe.batch):
            yield [(self.epoch, index) for index in order[start : start + self._recipe.batch]]


class Loader:
    """Batches of one epoch after the other."""

    def __init__(self, samples: Dataset, recipe: Recipe, *, pinned: bool) -> None:
        """Start the workers.

        Args:
            samples: The training split.
            recipe: Says how it is read.
            pinned: Whether batches lie in memory from which a CUDA device copies by itself.
        """
        workers = choose_workers(recipe)
        self._shuffle = Shuffle(len(samples), recipe)
        self._batches: DataLoader[Batch | SegdeployError] = DataLoader(
            Augmented(samples, recipe),
            batch_sampler=self._shuffle,
            collate_fn=stack,
            num_workers=workers,
            # A forked worker would wait for ever on threads of OpenCV that its parent started: a fork leaves them behind.
            multiprocessing_context=FRESH if workers else None,
            persistent_workers=workers > 0,
            pin_memory=pinned,
            worker_init_fn=be_single_threaded,
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._shuffle)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Give the batches of an epoch.

        Raises:
            DataError: A sample cannot be used.
        """
        self._shuffle.epoch = number
        for batch in self._batches:
            if isinstance(batch, SegdeployError):
                raise batch
            yield batch


def stack(samples: Sequence[Batch | SegdeployError]) -> Batch | SegdeployError:
    """Make a batch of samples, or give the first error among them."""
    whole: list[Batch] = []
    for sample in samples:
        if isinstance(sample, SegdeployError):
            return sample
        whole.append(sample)
    return torch.stack([image for image, _ in whole]), torch.stack([mask for _, mask in whole])


def be_single_threaded(worker: int) -> None:  # noqa: ARG001 - torch's signature
    """Keep OpenCV of a worker to one thread: the workers share the cores with each other and the network."""
    cv2.setNumThreads(1)


def choose_workers(recipe: Recipe) -> int:
    """Give the recipe's number of workers, or one that leaves the network its cores."""
    return recipe.workers if recipe.workers >= 0 else min(MAX_WORKERS, cores() - 1)
