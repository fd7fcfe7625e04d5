"""One trial of `segdeploy tune`, in a process of its own: a speed, or the masks of some frames."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segdeploy.arrays import Mask
from segdeploy.backends.base import Backend
from segdeploy.backends.loading import load_backend
from segdeploy.errors import DataError, SegdeployError
from segdeploy.imaging.io import list_images, read_image, write_image
from segdeploy.imaging.overlay import MASK, Renderer
from segdeploy.inference.predictor import Predictor
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import cores, peak_memory
from segdeploy.system.schema import convert
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import Outputs, SegmentedFrame
from segdeploy.video.motion import MotionCarrier
from segdeploy.video.outputs import video_outputs
from segdeploy.video.pipeline import VideoJob, segment_all
from segdeploy.video.reader import VideoSource
from segdeploy.video.run_options import Schedule, Selection

MOST_IMAGES = 32
"""Images that take turns in a trial, so that memory is that of the network."""

WARM_UP = 2
"""Batches that are not timed."""


@dataclass(frozen=True, kw_only=True)
class TrialTask:
    """What is tried.

    Attributes:
        artifact: Path of the file.
        throughput: Whether frames are processed in parallel, each by one thread.
        threads: Cores that the network uses.
        batch: Images per call of the network.
        every: Distance of two frames of a video that the network runs on.
        preset: Preset of the video encoder; "" for its default.
        device: Device of the runtime.
        trust: Whether the file is loaded as it is.
        video: The film; "" for images.
        images: Images and folders; none for a film.
        frames: How many frames or images are processed.
        masks: Folder for their masks, whose speed is not measured; "" for a trial of speed.
    """

    artifact: str
    throughput: bool
    threads: int
    batch: int
    every: int
    preset: str
    device: str
    trust: bool
    video: str
    images: tuple[str, ...]
    frames: int
    masks: str = ""

    @property
    def schedule(self) -> Schedule:
        """The schedule of a film."""
        return Schedule(throughput=self.throughput, threads=self.threads, batch=self.batch)

    def load(self) -> Backend:
        """Load the file for the schedule."""
        schedule = self.schedule
        schedule.share_cores()
        return load_backend(
            Path(self.artifact),
            device=self.device,
            trust=self.trust,
            threads=schedule.network_threads,
            callers=schedule.workers,
            spinning=False,
        )


def respond(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Do what a request describes; called by `run_in_process`."""
    task = convert(request, TrialTask, refuse=SegdeployError)
    if task.masks:
        return {"masks": write_masks(task)}
    return time_video(task) if task.video else time_images(task)


def time_video(task: TrialTask) -> Mapping[str, Any]:
    """Run over the beginning of a film as `segdeploy run` does, and return speed and memory."""
    backend = task.load()
    encoding = Encoding(preset=task.preset or None)
    with (
        VideoSource(Path(task.video), selection=Selection(max_frames=task.frames)) as source,
        temporary_folder() as folder,
    ):
        renderer = Renderer(backend.card.classes)
        outputs = video_outputs(source, folder, renderer=renderer, encoding=encoding)
        times = segment_all(make_job(task, backend, source, outputs, renderer)).times
    latency = sum(stage.p95 for stage in times.stages.values())
    return {"fps": times.rate, "latency": 1000 * latency, "memory": peak_memory() or 0}


def make_job(
    task: TrialTask,
    backend: Backend,
    source: VideoSource,
    outputs: AbstractContextManager[Outputs],
    renderer: Renderer,
) -> VideoJob:
    """Return the job of a film."""
    is_carried = task.every > 1
    motion = MotionCarrier(task.every, backend.card.input, live=False) if is_carried else None
    return VideoJob(
        source=source,
        backend=backend,
        outputs=outputs,
        renderer=renderer,
        schedule=task.schedule,
        motion=motion,
    )


def time_images(task: TrialTask) -> Mapping[str, Any]:
    """Segment images from memory, and return the speed, the 95th percentile and the memory."""
    cv2.setNumThreads(cores())
    predictor = Predictor(task.load())
    images = [read_image(path) for path in chosen_images(task)]
    seconds = []
    for number in range(WARM_UP + -(-task.frames // task.batch)):
        group = [images[(number * task.batch + i) % len(images)] for i in range(task.batch)]
        start = time.perf_counter()
        predictor.masks(group)
        seconds.append(time.perf_counter() - start)
    timed = seconds[WARM_UP:]
    return {
        "fps": task.batch * len(timed) / sum(timed),
        "latency": 1000 * float(np.percentile(timed, 95)),
        "memory": peak_memory() or 0,
    }


def chosen_images(task: TrialTask) -> list[Path]:
    """Return the images of a trial, evenly spaced over all of them."""
    paths = list_images([Path(path) for path in task.images])
    if not paths:
        msg = f"there is no image in {', '.join(task.images)}; name images or a folder of them"
        raise DataError(msg)
    count = min(MOST_IMAGES, task.frames, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


def write_masks(task: TrialTask) -> int:
    """Write the masks of the frames or images, and return how many."""
    backend, folder = task.load(), Path(task.masks)
    count = 0
    for count, mask in enumerate(_masks(task, backend), 1):
        write_image(folder / f"{count:06}.png", mask)
    return count


def _masks(task: TrialTask, backend: Backend) -> Iterator[Mask]:
    if not task.video:
        predictor = Predictor(backend)
        for path in chosen_images(task):
            yield predictor.mask(read_image(path))
        return
    masks: list[Mask] = []

    def keep(result: SegmentedFrame) -> None:
        masks.append(result.mask)

    with VideoSource(Path(task.video), selection=Selection(max_frames=task.frames)) as source:
        outputs = nullcontext(Outputs(writers=(keep,), paths=()))
        renderer = Renderer(backend.card.classes, (MASK,))
        segment_all(make_job(task, backend, source, outputs, renderer))
    yield from masks
