"""One round of one artifact, in a process of its own: engines that share a process disturb each other.

Run as `python -m segdeploy.benchmarks.row ORDER RESULT`.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import cv2

from segdeploy import datasets
from segdeploy.backends.base import Backend
from segdeploy.backends.loading import load_backend
from segdeploy.datasets.sample import Dataset
from segdeploy.evaluation import check_classes
from segdeploy.machine import cores, peak_memory
from segdeploy.pictures import write_picture
from segdeploy.pixels import to_batch
from segdeploy.predictor import Predictor

from .latency import Clock, Latency, measure
from .process import serve

TIMED = 8
"""How many pictures take turns while the time is measured: how long the labels take depends on the picture."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one round measures.

    Attributes:
        artifact: The file.
        backend: Kind of runtime, or "auto".
        device: Device asked for, or "auto".
        threads: Threads of the network; None for as many as there are cores.
        dataset: Name of the data set.
        data: Its folder, or None.
        split: Its split.
        pictures: How many pictures of the split are answered; None for all.
        runs: Timed runs.
        warm_up: Runs before them that are not timed.
        answers: Folder for the mask of each picture; None to measure time alone.
        started: When the process was started, by the machine's monotonic clock, in seconds.
    """

    artifact: str
    backend: str
    device: str
    threads: int | None
    dataset: str
    data: str | None
    split: str
    pictures: int | None
    runs: int
    warm_up: int
    answers: str | None
    started: float


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round found.

    Attributes:
        architecture: Name of the network.
        precision: Kind of numbers that the file computes with.
        input: Height and width of the network's input, in pixels.
        device: What ran it, as it was granted.
        threads: Threads that the network was given.
        cold_start: From the start of the process to the first mask, in milliseconds, less reading the picture.
        latency: From a decoded picture to its mask of the same size.
        network: The network alone, from a batch of its size to logits.
        peak_memory: The most memory that the process held until the last timed run, in bytes; None where nobody tells.
    """

    architecture: str
    precision: str
    input: tuple[int, int]
    device: str
    threads: int
    cold_start: float
    latency: Latency
    network: Latency
    peak_memory: int | None

    def to_dict(self) -> dict[str, Any]:
        """Give the values as JSON knows them."""
        return {**asdict(self), "latency": self.latency.to_dict(), "network": self.network.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        height, width = values["input"]
        times = {name: Latency.from_dict(values[name]) for name in ("latency", "network")}
        return cls(**{**values, **times, "input": (height, width)})


def chosen(count: int, pictures: int | None) -> Sequence[int]:
    """Give the indices of the pictures to answer: all, or some at even distances over the whole split."""
    wanted = count if pictures is None else min(pictures, count)
    return [index * count // wanted for index in range(wanted)]


def answer_name(index: int) -> str:
    """Give the name of the file that holds the mask of a picture."""
    return f"{index:06}.png"


def measure_round(backend: Backend, dataset: Dataset, task: Task, *, clock: Clock = time.monotonic) -> Round:
    """Measure one round; pictures are read before the clock runs.

    Args:
        backend: The loaded artifact.
        dataset: The split.
        task: What to measure.
        clock: Gives the machine's monotonic seconds, as `task.started` did.
    """
    card, predictor = backend.card, Predictor(backend)
    indices = chosen(len(dataset), task.pictures)
    reading = clock()
    first = dataset[indices[0]].image
    reading = clock() - reading
    predictor.mask(first)
    cold_start = clock() - task.started - reading
    images = [dataset[index].image for index in indices[:: max(1, len(indices) // TIMED)][:TIMED]]
    batches = [to_batch([image], card.input) for image in images]
    return Round(
        architecture=card.architecture,
        precision=card.precision,
        input=(card.input.height, card.input.width),
        device=backend.device,
        threads=task.threads or cores(),
        cold_start=round(1000 * cold_start, 1),
        latency=measure(lambda run: predictor.mask(images[run % len(images)]), runs=task.runs, warm_up=task.warm_up, clock=clock),
        network=measure(lambda run: backend.run(batches[run % len(batches)]), runs=task.runs, warm_up=task.warm_up, clock=clock),
        peak_memory=peak_memory(),
    )


def write_answers(backend: Backend, dataset: Dataset, folder: Path, *, pictures: int | None) -> None:
    """Write the mask of each chosen picture, at the picture's own size, as a grey PNG of class indices."""
    predictor = Predictor(backend)
    for index in chosen(len(dataset), pictures):
        write_picture(folder / answer_name(index), predictor.mask(dataset[index].image))


def work(task: Task) -> Round:
    """Load the artifact and do what the task asks.

    Raises:
        SegdeployError: The artifact or the data set cannot be used.
    """
    # OpenCV counts the host's cores, not those that a container grants.
    cv2.setNumThreads(cores())
    backend = load_backend(Path(task.artifact), backend=task.backend, device=task.device, threads=task.threads)
    dataset = datasets.load(task.dataset, None if task.data is None else Path(task.data), task.split)
    check_classes(Predictor(backend), dataset)
    found = measure_round(backend, dataset, task)
    if task.answers is not None:
        write_answers(backend, dataset, Path(task.answers), pictures=task.pictures)
    return found


if __name__ == "__main__":
    serve(lambda order: work(Task(**order)).to_dict(), sys.argv[1:])
