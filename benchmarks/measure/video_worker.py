"""A whole video through one artifact, in a process of its own.

From its file to a written overlay video, as `segdeploy run` does it.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from segdeploy.backends.base import Backend
from segdeploy.imaging.overlay import MASK, Drawing
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import Outputs, Selection
from segdeploy.video.outputs import video_outputs
from segdeploy.video.pipeline import segment_all
from segdeploy.video.reader import VideoSource
from segdeploy.video.schedule import Schedule
from segdeploy.video.smoothing import Flicker

from ..results.row import Video
from ..results.variant import Variant

WATCHED = 120
"""Frames whose masks are looked at for flicker."""

NOTHING = Outputs(writers=(), paths=())


@dataclass(frozen=True, kw_only=True)
class Film:
    """What to run over a video.

    Attributes:
        way: What to run, and how.
        video: The video.
        folder: Where the overlay video goes.
    """

    way: Variant
    video: str
    folder: str

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave, through JSON or not."""
        return cls(**{**values, "way": Variant.from_dict(values["way"])})


def show(film: Film) -> Video:
    """Run the artifact over the video, with the stages in threads, and give where the time went.

    Raises:
        SegdeployError: The artifact or the video cannot be used.
    """
    schedule = Schedule(threads=film.way.threads)
    schedule.share_cores()
    backend = film.way.load_for_video(schedule.network_threads, callers=schedule.workers)
    drawing = Drawing(backend.card.classes)
    with VideoSource(Path(film.video)) as source:
        outputs = video_outputs(source, Path(film.folder), drawing=drawing, encoding=Encoding())
        done = segment_all(
            source,
            outputs,
            backend=backend,
            drawing=drawing,
            workers=schedule.workers,
            batch=film.way.batch,
        )
    return Video(times=done.times, flicker=watch(Path(film.video), backend))


def watch(video: Path, backend: Backend) -> float:
    """Look at the masks of the first frames once more, when nothing is timed, and give how much they flicker."""
    flicker = Flicker()
    drawing = Drawing(backend.card.classes, (MASK,))
    with VideoSource(video, selection=Selection(most=WATCHED)) as source:
        segment_all(
            source,
            nullcontext(NOTHING),
            backend=backend,
            drawing=drawing,
            seen=lambda result: flicker.add(result.mask),
        )
    return flicker.share


def serve_video(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run the video that an order describes."""
    return show(Film.from_dict(order)).to_dict()
