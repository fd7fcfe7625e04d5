"""One round of one row, in a process of its own.

Engines that share a process disturb each other.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2

from segdeploy import datasets
from segdeploy.datasets.dataset import Dataset
from segdeploy.errors import DataError
from segdeploy.imaging.io import write_image
from segdeploy.system.machine import cores, peak_memory

from ..results.latency import Clock, Latency, measure
from ..results.row import Round
from ..results.variant import Variant
from .energy import Meter, meter_of
from .subject import SystemUnderTest, subject_of

TIMED = 8
"""How many batches take turns while the time is measured: how long the labels take depends on the
image."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one round measures.

    Attributes:
        way: What to run, and how.
        dataset: Name of the dataset.
        data: Its folder, or None.
        split: Its split.
        images: How many images of the split are answered; None for all.
        runs: Timed runs.
        warm_up: Runs before them that are not timed.
        answers: Folder for the mask of each image; None to measure time alone.
        started: When the process was started, by the machine's monotonic clock, in seconds.
    """

    way: Variant
    dataset: str
    data: str | None
    split: str
    images: int | None
    runs: int
    warm_up: int
    answers: str | None
    started: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave, through JSON or not."""
        return cls(**{**values, "way": Variant.from_dict(values["way"])})


def chosen(count: int, images: int | None) -> Sequence[int]:
    """Return the indices of the images to segment, all or `images` of them at even distances.

    They begin with the first image, unlike those of `datasets.dataset.evenly_spaced`: a stored
    baseline names its images, and `--baseline` compares only with a report of the same ones.
    """
    length = count if images is None else min(images, count)
    return [place * count // length for place in range(length)]


def answer_name(index: int) -> str:
    """Return the name of the file that holds the mask of an image."""
    return f"{index:06}.png"


def batches(indices: Sequence[int], size: int) -> list[list[int]]:
    """Put images together that are timed as one.

    Batches of neighbors at even distances, some images twice where there are few.
    """
    firsts = indices[:: max(1, len(indices) // TIMED)][:TIMED]
    places = [indices.index(first) for first in firsts]
    return [
        [indices[(place + offset) % len(indices)] for offset in range(size)] for place in places
    ]


def measure_round(
    subject: SystemUnderTest,
    dataset: Dataset,
    task: Task,
    *,
    clock: Clock = time.monotonic,
    meter: Callable[[str], Meter] = meter_of,
) -> Round:
    """Measure one round; images are read before the clock runs.

    Args:
        subject: What is measured.
        dataset: The split.
        task: What to measure.
        clock: Gives the machine's monotonic seconds, as `task.started` did.
        meter: Begins to count the energy of a device.
    """
    indices = chosen(len(dataset), task.images)
    reading = clock()
    first = dataset[indices[0]].image
    reading = clock() - reading
    subject.masks([first])
    cold_start = clock() - task.started - reading
    groups = [
        [dataset[index].image for index in group]
        for group in batches(indices, subject.setting.batch)
    ]
    inputs = [subject.prepare(group) for group in groups]
    latency, energy = measure_energy(
        lambda runs, warm_up: measure(
            lambda run: subject.masks(groups[run % len(groups)]),
            runs=runs,
            warm_up=warm_up,
            clock=clock,
        ),
        subject,
        task,
        meter=meter,
    )
    return Round(
        setting=subject.setting,
        cold_start=round(1000 * cold_start, 1),
        latency=latency,
        network=measure(
            lambda run: subject.infer(inputs[run % len(inputs)]),
            runs=task.runs,
            warm_up=task.warm_up,
            clock=clock,
        ),
        peak_memory=peak_memory(),
        energy=energy,
    )


def measure_energy(
    timed: Callable[[int, int], Latency],
    subject: SystemUnderTest,
    task: Task,
    *,
    meter: Callable[[str], Meter],
) -> tuple[Latency, Mapping[str, float]]:
    """Time runs and count their energy; what comes before them, to warm up, is not counted."""
    timed(0, task.warm_up)
    counting = meter(subject.setting.device)
    latency = timed(task.runs, 0)
    return latency, counting.spent(task.runs * subject.setting.batch)


def write_answers(
    subject: SystemUnderTest, dataset: Dataset, folder: Path, *, images: int | None
) -> None:
    """Write the mask of each chosen image, at the image's own size, as a gray PNG of class indices."""
    indices = chosen(len(dataset), images)
    size = subject.setting.batch
    for start in range(0, len(indices), size):
        group = indices[start : start + size]
        for index, mask in zip(
            group, subject.masks([dataset[index].image for index in group]), strict=True
        ):
            write_image(folder / answer_name(index), mask)


def check_subject(subject: SystemUnderTest, dataset: Dataset) -> None:
    """Refuse a dataset that the network was not made for.

    Raises:
        DataError: The dataset is empty or has another number of classes than the network.
    """
    if not len(dataset):
        msg = "the dataset holds no image; check the split and the folder"
        raise DataError(msg)
    if subject.card is not None and len(subject.card.classes) != len(dataset.classes):
        known, given = len(subject.card.classes), len(dataset.classes)
        msg = (
            f"the network knows {known} classes and the dataset has {given}; measure on data with"
            " the network's classes"
        )
        raise DataError(msg)


def work(task: Task) -> Round:
    """Load the subject and do what the task asks.

    Raises:
        SegdeployError: The artifact or the dataset cannot be used.
    """
    # OpenCV counts the host's cores, not those that a container grants.
    cv2.setNumThreads(cores())
    subject = subject_of(task.way)
    dataset = datasets.load(
        task.dataset, None if task.data is None else Path(task.data), task.split
    )
    check_subject(subject, dataset)
    found = measure_round(subject, dataset, task)
    if task.answers is not None and subject.card is not None:
        write_answers(subject, dataset, Path(task.answers), images=task.images)
    return found


def serve_round(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Measure the round that an order describes."""
    return work(Task.from_dict(order)).to_dict()
