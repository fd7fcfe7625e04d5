"""One round of one row, in a process of its own: runtimes in one process disturb each other."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from segdeploy import datasets
from segdeploy.datasets.dataset import Dataset
from segdeploy.errors import ConfigError, DataError, SegdeployError
from segdeploy.imaging.io import write_image
from segdeploy.system.machine import cores, peak_memory
from segdeploy.system.schema import convert

from ..results.latency import Clock, Latency, measure
from ..results.row import Round
from ..results.variant import SystemUnderTest, Variant, predictor_system
from .energy import Meter, meter_for

TIMED = 8
"""How many batches take turns while the time is measured: the time for the mask depends on the
image."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one round measures.

    Attributes:
        variant: What to run, and how.
        dataset: Name of the dataset.
        data: Its folder, or None.
        split: Its split.
        images: How many images of the split are segmented; None for all.
        runs: Timed runs.
        warm_up: Runs before them that are not timed.
        masks: Folder for the mask of each image; None to measure the time alone.
        started: When the process was started, in seconds of the machine's monotonic clock.
    """

    variant: Variant
    dataset: str
    data: str | None
    split: str
    images: int | None
    runs: int
    warm_up: int
    masks: str | None
    started: float


def respond(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Measure the round that a request describes; called by `run_in_process`."""
    return run_task(convert(request, Task, refuse=SegdeployError)).to_dict()


def run_task(task: Task) -> Round:
    """Load the system under test, measure it, and write its masks if the task requests them.

    Raises:
        SegdeployError: The artifact or the dataset cannot be used.
    """
    # OpenCV counts the host's cores, not those that a container grants.
    cv2.setNumThreads(cores())
    system = load_system(task.variant)
    dataset = datasets.load(
        task.dataset, None if task.data is None else Path(task.data), task.split
    )
    check_dataset(system, dataset)
    measured = measure_round(system, dataset, task)
    if task.masks is not None and system.card is not None:
        write_masks(system, dataset, Path(task.masks), images=task.images)
    return measured


def load_system(variant: Variant) -> SystemUnderTest:
    """Load what is to be measured.

    Raises:
        SegdeployError: It cannot be used.
    """
    if not variant.peer:
        backend = variant.load()
        spec = backend.card.input
        if not spec.is_plain:
            msg = (
                f"{variant.artifact} takes {len(spec.channels)} bands of {spec.dtype}, and only"
                " networks of colors of 8 bits are benchmarked; use 'segdeploy eval'"
            )
            raise ConfigError(msg)
        return predictor_system(backend, variant)
    # Not needed by our own rows, whose memory and cold start are measured.
    from .peers import load_peer

    return load_peer(variant)


def check_dataset(system: SystemUnderTest, dataset: Dataset) -> None:
    """Refuse a dataset whose classes are not the network's.

    Raises:
        DataError: The dataset is empty or has another number of classes than the network.
    """
    if not len(dataset):
        msg = "the dataset holds no image; check the split and the folder"
        raise DataError(msg)
    if system.card is not None and len(system.card.classes) != len(dataset.classes):
        msg = (
            f"the network has {len(system.card.classes)} classes and the dataset"
            f" {len(dataset.classes)}; measure on a dataset with the network's classes"
        )
        raise DataError(msg)


def measure_round(
    system: SystemUnderTest,
    dataset: Dataset,
    task: Task,
    *,
    clock: Clock = time.monotonic,
    meter: Callable[[str], Meter] = meter_for,
) -> Round:
    """Measure one round; images are read before they are timed.

    Args:
        system: What is measured.
        dataset: The split.
        task: What to measure.
        clock: The machine's monotonic clock, that of `task.started`.
        meter: Starts to count the energy of a device.
    """
    indices = image_indices(len(dataset), task.images)
    reading = clock()
    first = dataset[indices[0]].image
    reading = clock() - reading
    system.masks([first])
    cold_start = clock() - task.started - reading
    groups = [
        [dataset[index].image for index in group]
        for group in batches(indices, system.setting.batch)
    ]

    def time_masks(runs: int, warm_up: int) -> Latency:
        return measure(
            lambda run: system.masks(groups[run % len(groups)]),
            runs=runs,
            warm_up=warm_up,
            clock=clock,
        )

    inputs = [system.prepare(group) for group in groups]
    latency, energy = measure_energy(time_masks, system, task, meter=meter)
    network = measure(
        lambda run: system.infer(inputs[run % len(inputs)]),
        runs=task.runs,
        warm_up=task.warm_up,
        clock=clock,
    )
    return Round(
        setting=system.setting,
        cold_start=round(1000 * cold_start, 1),
        latency=latency,
        network=network,
        peak_memory=peak_memory(),
        energy=energy,
    )


def measure_energy(
    time_masks: Callable[[int, int], Latency],
    system: SystemUnderTest,
    task: Task,
    *,
    meter: Callable[[str], Meter],
) -> tuple[Latency, Mapping[str, float]]:
    """Return the latency of the timed runs and their energy an image, without the warm-up."""
    time_masks(0, task.warm_up)
    counting = meter(system.setting.device)
    latency = time_masks(task.runs, 0)
    return latency, counting.per_image(task.runs * system.setting.batch)


def image_indices(count: int, images: int | None) -> Sequence[int]:
    """Return the indices of the images to segment: all, or some evenly spaced over the split.

    The first index is always 0, unlike with `evenly_spaced`: a report can be compared with an older
    one only if both are of the same images.
    """
    chosen = count if images is None else min(images, count)
    return [index * count // chosen for index in range(chosen)]


def batches(indices: Sequence[int], size: int) -> list[list[int]]:
    """Return the images that are timed together.

    Batches of neighbors, evenly spaced; some images are used twice where there are few.
    """
    firsts = indices[:: max(1, len(indices) // TIMED)][:TIMED]
    starts = [indices.index(first) for first in firsts]
    return [
        [indices[(start + offset) % len(indices)] for offset in range(size)] for start in starts
    ]


def mask_name(index: int) -> str:
    """Return the name of the file that holds the mask of an image."""
    return f"{index:06}.png"


def write_masks(
    system: SystemUnderTest, dataset: Dataset, folder: Path, *, images: int | None
) -> None:
    """Write the mask of each selected image, of its own size, as a gray PNG of class indices."""
    indices = image_indices(len(dataset), images)
    size = system.setting.batch
    for start in range(0, len(indices), size):
        group = indices[start : start + size]
        masks = system.masks([dataset[index].image for index in group])
        for index, mask in zip(group, masks, strict=True):
            write_image(folder / mask_name(index), mask)
