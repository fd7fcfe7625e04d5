"""A whole video through one artifact, in a process of its own: from its file to a written overlay video, as `segdeploy run` does it.

Run as `python -m segdeploy.benchmarks.film ORDER RESULT`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from segdeploy.backends.loading import load_backend
from segdeploy.video.codecs import Encoding
from segdeploy.video.drawing import Drawing
from segdeploy.video.pace import Pace
from segdeploy.video.saving import video_outputs
from segdeploy.video.segment import segment_all
from segdeploy.video.sources import VideoSource
from segdeploy.video.times import StageTimes

from .process import serve


@dataclass(frozen=True, kw_only=True)
class Film:
    """What to run over a video.

    Attributes:
        artifact: The file.
        backend: Kind of runtime, or "auto".
        device: Device asked for, or "auto".
        threads: Threads of the network; None for as many as there are cores.
        video: The video.
        folder: Where the overlay video goes.
    """

    artifact: str
    backend: str
    device: str
    threads: int | None
    video: str
    folder: str


def show(film: Film) -> StageTimes:
    """Run the artifact over the video, with the stages in threads, and give where the time went.

    Raises:
        SegdeployError: The artifact or the video cannot be used.
    """
    pace = Pace(threads=film.threads)
    pace.share_cores()
    backend = load_backend(Path(film.artifact), backend=film.backend, device=film.device, threads=pace.network_threads, spinning=False)
    with VideoSource(Path(film.video)) as source:
        drawing = Drawing(backend.card.classes)
        outputs = video_outputs(source, Path(film.folder), drawing=drawing, encoding=Encoding())
        return segment_all(source, outputs, backend=backend, drawing=drawing, workers=pace.workers).times


if __name__ == "__main__":
    serve(lambda order: show(Film(**order)).to_dict(), sys.argv[1:])
