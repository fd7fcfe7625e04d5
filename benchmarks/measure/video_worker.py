"""A whole video through one artifact, in a process of its own.

From its file to a written overlay video, as `segdeploy run` does it.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdeploy.backends.base import Backend
from segdeploy.errors import SegdeployError
from segdeploy.imaging.overlay import MASK, Renderer
from segdeploy.system.schema import convert
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import Outputs, SegmentedFrame
from segdeploy.video.outputs import video_outputs
from segdeploy.video.pipeline import SilentObserver, VideoJob, segment_all
from segdeploy.video.reader import VideoSource
from segdeploy.video.run_options import Schedule, Selection
from segdeploy.video.smoothing import Flicker

from ..results.row import Video
from ..results.variant import Variant

FLICKER_FRAMES = 120
"""Number of frames from which the flicker is computed."""

NO_OUTPUT = Outputs(writers=(), paths=())


@dataclass(frozen=True, kw_only=True)
class VideoTask:
    """What to run over a video.

    Attributes:
        variant: What to run, and how.
        video: Path of the video.
        folder: Folder of the overlay video.
    """

    variant: Variant
    video: str
    folder: str


def run_video(task: VideoTask) -> Video:
    """Run the artifact over the video, with the stages in threads, and return their times.

    Raises:
        SegdeployError: The artifact or the video cannot be used.
    """
    schedule = Schedule(threads=task.variant.threads, batch=task.variant.batch)
    schedule.share_cores()
    backend = task.variant.load_for_video(schedule.network_threads, callers=schedule.workers)
    renderer = Renderer(backend.card.classes)
    with VideoSource(Path(task.video)) as source:
        outputs = video_outputs(source, Path(task.folder), renderer=renderer, encoding=Encoding())
        job = VideoJob(
            source=source, backend=backend, outputs=outputs, renderer=renderer, schedule=schedule
        )
        done = segment_all(job)
    return Video(times=done.times, flicker=measure_flicker(Path(task.video), backend))


class FlickerObserver(SilentObserver):
    """Counts how much the masks of a video flicker."""

    def __init__(self) -> None:
        """Start with no frame."""
        self.flicker = Flicker()

    def on_frame(self, result: SegmentedFrame) -> None:
        """Count a frame's mask."""
        self.flicker.add(result.mask)


def measure_flicker(video: Path, backend: Backend) -> float:
    """Segment the first frames once more, untimed, and return the share of pixels that flicker."""
    observer = FlickerObserver()
    with VideoSource(video, selection=Selection(max_frames=FLICKER_FRAMES)) as source:
        job = VideoJob(
            source=source,
            backend=backend,
            outputs=nullcontext(NO_OUTPUT),
            renderer=Renderer(backend.card.classes, (MASK,)),
            schedule=Schedule(throughput=False),
        )
        segment_all(job, observer)
    return observer.flicker.share


def respond(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run over the video that a request describes; called by `run_in_process`."""
    return run_video(convert(request, VideoTask, refuse=SegdeployError)).to_dict()
