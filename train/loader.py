"""Batches of the training split: shuffled, augmented, read ahead by worker processes."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, get_worker_info

from segdeploy.datasets.dataset import Dataset
from segdeploy.errors import DataError, SegdeployError, WorkerError
from segdeploy.system.concurrency import keep_freed_memory, process_context, set_up_reader
from segdeploy.system.machine import cores
from segdeploy.system.posix import end_after, free_shared_memory

from .augmentation import Augmentation, sample_rng
from .bands import input_spec
from .distributed import SINGLE_PROCESS, Processes
from .recipe import Recipe

MAX_WORKERS = 8

START_METHODS = ("forkserver", "spawn")
"""How a worker starts: as a fresh process, not as a copy of this one; Windows lacks the first."""

PREFETCH = 2
"""Batches that wait in shared memory for each worker; one more is in use."""

MASK_BYTES = 1
"""Bytes of a mask's pixel."""

GRACE = 30
"""Seconds that a worker outlives a SIGTERM: enough for the main process to save the run."""


class Batch(NamedTuple):
    """Samples of a training split.

    Attributes:
        images: Images (N, H, W, 3) uint8 red-green-blue, or (N, H, W, C) of the recipe's type.
        masks: Masks (N, H, W) uint8.
        indices: Indices of the samples in the split, (N,) int64.
        jitter: Color jitter that the device still has to apply to each image, (N, 8) float64, in
            the order of `ColorJitter`; (N, 0) for none.
    """

    images: Tensor
    masks: Tensor
    indices: Tensor
    jitter: Tensor


class AugmentedDataset(torch.utils.data.Dataset[Batch | SegdeployError]):
    """The samples of a dataset as an epoch sees them."""

    def __init__(self, samples: Dataset, recipe: Recipe, *, apply_jitter: bool) -> None:
        """Wrap a dataset.

        Args:
            samples: The training split.
            recipe: Strengths of the augmentation.
            apply_jitter: Whether colors are changed here; otherwise the numbers of the jitter go
                with the image, for the device to apply.
        """
        self._samples = samples
        self._recipe = recipe
        self._augmentation = Augmentation(recipe)
        self._apply_jitter = apply_jitter

    def __getitem__(self, place: tuple[int, int]) -> Batch | SegdeployError:
        """Return a sample, which is the same in every process.

        Args:
            place: Epoch and index.

        Returns:
            A batch without its first axis, or the error of a sample that cannot be used: raised in
            a worker it would reach the user as a traceback.
        """
        epoch, index = place
        try:
            sample = self._samples[index]
        except SegdeployError as error:
            return error
        rng = sample_rng(self._recipe, epoch, index=index)
        jitter: tuple[float, ...] = ()
        if self._apply_jitter:
            image, mask = self._augmentation.apply_to_rgb(sample.image, sample.mask, rng)
        else:
            image, mask = self._augmentation.crop_and_flip(sample.image, sample.mask, rng)
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), image.dtype)
            jitter = self._augmentation.draw_jitter(rng).to_numbers()
        return Batch(
            torch.from_numpy(image),
            torch.from_numpy(mask),
            torch.tensor(index),
            torch.tensor(jitter, dtype=torch.float64),
        )


class ShuffledBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) in an order that depends on the seed and the epoch alone.

    So a run can be resumed at any step.

    Attributes:
        epoch: Number of the epoch, from 0.
        first: Number of the batch that the epoch starts at.
    """

    def __init__(self, samples: int, recipe: Recipe, processes: Processes = SINGLE_PROCESS) -> None:
        """Start with the first epoch.

        Args:
            samples: Number of samples in the split.
            recipe: Its seed and batch count.
            processes: All that take part; each has its share of every batch.
        """
        self.epoch = 0
        self.first = 0
        self._samples = samples
        self._recipe = recipe
        self._processes = processes

    def __len__(self) -> int:
        """Return the number of batches in an epoch.

        An incomplete last one is left out: norms would give its few images as much weight.
        """
        return max(1, self._samples // self._recipe.batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Return this process's share of the batches of an epoch, from the batch `first` on."""
        rng = np.random.default_rng((self._recipe.seed, self.epoch))
        order = rng.permutation(self._samples).tolist()
        for number in range(self.first, len(self)):
            batch = order[number * self._recipe.batch : (number + 1) * self._recipe.batch]
            yield [
                (self.epoch, index) for index in batch[self._processes.rank :: self._processes.size]
            ]


class Loader:
    """Batches of the training split, epoch by epoch."""

    def __init__(
        self,
        samples: Dataset,
        recipe: Recipe,
        *,
        cuda: bool,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        """Start the workers; without any, this process reads the samples itself.

        Args:
            samples: The training split.
            recipe: Batch, augmentation and number of workers.
            cuda: Whether batches go to a CUDA device, which copies them from pinned memory and
                changes colors itself.
            processes: All that take part.

        Raises:
            DataError: There are fewer samples than processes.
        """
        if len(samples) < processes.size:
            msg = f"{processes.size} processes cannot share {len(samples)} images; start fewer"
            raise DataError(msg)
        workers = choose_workers(recipe, processes)
        if not workers:
            keep_freed_memory()
        self._order = ShuffledBatches(len(samples), recipe, processes)
        self._batches: DataLoader[Batch | SegdeployError] = DataLoader(
            AugmentedDataset(samples, recipe, apply_jitter=not cuda or recipe.has_bands),
            batch_sampler=self._order,
            collate_fn=collate,
            num_workers=workers,
            # A forked worker would wait forever for OpenCV's threads, which a fork does not copy.
            multiprocessing_context=process_context(*START_METHODS) if workers else None,
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCH if workers else None,
            pin_memory=cuda,
            worker_init_fn=init_worker,
            # Its own, so that an epoch that is started again after an interruption draws nothing
            # from the network's generator.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._order)

    def epoch(self, number: int, *, first: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch, from the batch `first` on.

        Raises:
            DataError: A sample cannot be used.
        """
        self._order.epoch, self._order.first = number, first
        with _readers():
            batches = iter(self._batches)
        while True:
            with _readers():
                batch = next(batches, None)
            if batch is None:
                return
            if isinstance(batch, SegdeployError):
                raise batch
            yield batch


@contextmanager
def _readers() -> Iterator[None]:
    """Wait for workers in a block; raises a WorkerError where one is gone."""
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = (
            f"a process that reads images ended or cannot be started ({reason}); was it killed, or"
            " is the memory or the number of processes limited? use fewer with --workers, or 0"
        )
        raise WorkerError(msg) from error


def collate(samples: Sequence[Batch | SegdeployError]) -> Batch | SegdeployError:
    """Return a batch of samples, or the first error among them.

    A worker puts it into shared memory here, and not while it is sent: there an error would be
    printed, the batch left out, and the main process would wait for it forever.
    """
    usable: list[Batch] = []
    for sample in samples:
        if isinstance(sample, SegdeployError):
            return sample
        usable.append(sample)
    batch = Batch(*(torch.stack(parts) for parts in zip(*usable, strict=True)))
    if get_worker_info() is None:
        return batch
    try:
        for part in batch:
            part.share_memory_()  # type: ignore[no-untyped-call]
    except RuntimeError:
        size = sum(part.nbytes for part in batch) / 1e6
        return WorkerError(
            f"a batch of {size:.1f} MB does not fit into the shared memory; give the container more"
            " (docker run --shm-size 2g), or use fewer --workers, or 0"
        )
    return batch


def init_worker(worker: int) -> None:  # noqa: ARG001 - torch's signature
    """Set up a worker process to read, and leave signals to the main process.

    Ctrl-C and SIGTERM reach all processes of a group at once: a worker that stopped at once would
    break the step that the main process is finishing.
    """
    set_up_reader()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: end_after(GRACE))


def choose_workers(
    recipe: Recipe,
    processes: Processes = SINGLE_PROCESS,
    *,
    available: int | None = None,
    shared_memory: int | None = None,
) -> int:
    """Return the recipe's number of workers; for -1 one that leaves each process a core.

    Those also fit into the shared memory, of which containers often have 64 MB.

    Args:
        recipe: Its `workers`.
        processes: All that share the cores.
        available: Number of cores; None for those that this process may use.
        shared_memory: Bytes of shared memory; None for what is free.
    """
    if recipe.workers >= 0:
        return recipe.workers
    available = cores() if available is None else available
    height, width = recipe.train_size
    spec = input_spec(recipe)
    per_pixel = len(spec.channels) * np.dtype(spec.dtype).itemsize + MASK_BYTES
    waiting = (PREFETCH + 1) * per_pixel * height * width * recipe.batch
    shared_memory = free_shared_memory() if shared_memory is None else shared_memory
    return min(MAX_WORKERS, max(0, available // processes.size - 1), shared_memory // waiting)
