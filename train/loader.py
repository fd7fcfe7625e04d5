"""Samples on their way to the device: shuffled, augmented, in batches, read ahead by processes."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from segdeploy.datasets.dataset import Dataset
from segdeploy.errors import DataError, SegdeployError
from segdeploy.system.concurrency import keep_freed_memory, settle_reader
from segdeploy.system.machine import cores

from .augmentation import augment_to_rgb, chance, draw_tint, move
from .distributed import ALONE, Processes
from .recipe import Recipe

MAX_WORKERS = 8

FRESH = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How a worker starts: as a fresh process, not as a copy of this one."""

GRACE = 30
"""Seconds that a worker outlives a SIGTERM: in so many the main process keeps the run, or is killed
by the scheduler itself."""


class Batch(NamedTuple):
    """Some samples of a training split.

    Attributes:
        images: Images (N, H, W, 3) uint8 red-green-blue.
        masks: Masks (N, H, W) uint8.
        indices: Which samples these are, (N,) int64.
        tints: What is still to be done to the colors of each image, (N, 8) float64, in the order
            of `Tint`; (N, 0) for nothing.
    """

    images: Tensor
    masks: Tensor
    indices: Tensor
    tints: Tensor


class Augmented(torch.utils.data.Dataset[Batch | SegdeployError]):
    """The samples of a dataset as an epoch sees them."""

    def __init__(self, samples: Dataset, recipe: Recipe, *, tinted: bool) -> None:
        """Wrap a dataset.

        Args:
            samples: Where the samples come from.
            recipe: Says how they are changed.
            tinted: Whether the colors are changed here; else what is to be done to them goes with
                the image.
        """
        self._samples = samples
        self._recipe = recipe
        self._tinted = tinted

    def __getitem__(self, place: tuple[int, int]) -> Batch | SegdeployError:
        """Return sample `index` of an epoch, whichever process asks and whatever was asked before.

        Args:
            place: Epoch and index.

        Returns:
            A batch without its first axis, or what is wrong with the sample: raised in a worker it
            would lose its sentence in a traceback.
        """
        epoch, index = place
        try:
            sample = self._samples[index]
        except SegdeployError as error:
            return error
        random = chance(self._recipe, epoch, index=index)
        if self._tinted:
            image, mask = augment_to_rgb(sample.image, sample.mask, self._recipe, random)
            left: tuple[float, ...] = ()
        else:
            image, mask = move(sample.image, sample.mask, self._recipe, random)
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            left = draw_tint(self._recipe, random).numbers()
        return Batch(
            torch.from_numpy(image),
            torch.from_numpy(mask),
            torch.tensor(index),
            torch.tensor(left, dtype=torch.float64),
        )


class Shuffle(Sampler[list[tuple[int, int]]]):
    """Batches of places in an order that follows from the seed and the epoch alone, so that a run can go on anywhere."""

    def __init__(self, samples: int, recipe: Recipe, processes: Processes = ALONE) -> None:
        """Start with the first epoch.

        Args:
            samples: How many there are.
            recipe: Gives seed and batch.
            processes: Who takes part; each gets its share of every batch.
        """
        self.epoch = 0
        self.first = 0
        self._samples = samples
        self._recipe = recipe
        self._processes = processes

    def __len__(self) -> int:
        """Number of batches; an incomplete last one is left out, since the norms would weigh its few images as much."""
        return max(1, self._samples // self._recipe.batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Return the batches of the epoch that `epoch` names, from the batch `first` on."""
        order = (
            np.random.default_rng((self._recipe.seed, self.epoch))
            .permutation(self._samples)
            .tolist()
        )
        for number in range(self.first, len(self)):
            whole = order[number * self._recipe.batch : (number + 1) * self._recipe.batch]
            yield [
                (self.epoch, index) for index in whole[self._processes.rank :: self._processes.size]
            ]


class Loader:
    """Batches of one epoch after the other."""

    def __init__(
        self, samples: Dataset, recipe: Recipe, *, cuda: bool, processes: Processes = ALONE
    ) -> None:
        """Start the workers; without any, this process reads itself.

        Args:
            samples: The training split.
            recipe: Says how it is read.
            cuda: Whether the batches go to a CUDA device, which copies them from pinned memory by
                itself and changes colors faster.
            processes: Who takes part.

        Raises:
            DataError: There are fewer samples than processes.
        """
        if len(samples) < processes.size:
            msg = f"{processes.size} processes cannot share {len(samples)} images; start fewer"
            raise DataError(msg)
        workers = choose_workers(recipe, processes)
        if not workers:
            keep_freed_memory()
        self._shuffle = Shuffle(len(samples), recipe, processes)
        self._batches: DataLoader[Batch | SegdeployError] = DataLoader(
            Augmented(samples, recipe, tinted=not cuda),
            batch_sampler=self._shuffle,
            collate_fn=stack,
            num_workers=workers,
            # A forked worker would wait for ever on threads of OpenCV that its parent started: a
            # fork leaves them behind.
            multiprocessing_context=FRESH if workers else None,
            persistent_workers=workers > 0,
            pin_memory=cuda,
            worker_init_fn=settle,
            # Its own, so that an epoch which is begun a second time, after an interruption, draws
            # nothing from the network's.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._shuffle)

    def epoch(self, number: int, *, first: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch, from the batch `first` on.

        Raises:
            DataError: A sample cannot be used.
        """
        self._shuffle.epoch, self._shuffle.first = number, first
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
    return Batch(*(torch.stack(parts) for parts in zip(*whole, strict=True)))


def settle(worker: int) -> None:  # noqa: ARG001 - torch's signature
    """Make a worker ready to read, and leave signals to the main process.

    Ctrl-C and SIGTERM reach all processes of a group at once: a worker that died of one would end
    the step that is being finished.
    """
    settle_reader()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Death comes a little later, since its parent may have sent the signal, and waits.
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.alarm(GRACE))


def choose_workers(recipe: Recipe, processes: Processes = ALONE) -> int:
    """Return the recipe's number of workers, or one that leaves each network a core."""
    return (
        recipe.workers
        if recipe.workers >= 0
        else min(MAX_WORKERS, max(0, cores() // processes.size - 1))
    )
