"""Render a drive through a synthetic street as a video with audio."""

from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path

from segdeploy.datasets.formats.camvid import CLASSES
from segdeploy.datasets.synthetic.audio import write_drive_audio
from segdeploy.datasets.synthetic.dataset import drive, drive_world
from segdeploy.imaging.overlay import Painter
from segdeploy.system.files import temporary_folder
from segdeploy.video.writer import VideoSink


def render_clip(
    path: Path,
    *,
    seed: int,
    frames: int,
    height: int,
    width: int,
    rate: Fraction,
    weather: str | None = None,
    overlay: Path | None,
    on_step: Callable[[str], None],
) -> None:
    """Render a drive into an MP4 file; if interrupted, it leaves a playable one.

    Args:
        path: Path of the video.
        seed: Seed of the street.
        frames: Number of frames.
        height: Height of each frame, in pixels.
        width: Width of each frame, in pixels.
        rate: Frames per second.
        weather: Weather of the drive, one of `WEATHERS`; that of the street where None.
        overlay: A second video, with the labels drawn over the drive; None for none.
        on_step: Called after each frame.

    Raises:
        OutputError: A video cannot be written.
    """
    with temporary_folder() as folder, ExitStack() as stack:
        audio = folder / "drive.wav"
        write_drive_audio(audio, drive_world(seed, weather), float(frames / rate))
        plain = stack.enter_context(
            VideoSink(path, width=width, height=height, rate=rate, audio=audio)
        )
        labeled = (
            stack.enter_context(
                VideoSink(overlay, width=width, height=height, rate=rate, audio=audio)
            )
            if overlay
            else None
        )
        painter = Painter(CLASSES)
        for index, sample in enumerate(
            islice(drive(seed, height=height, width=width, rate=rate, weather=weather), frames)
        ):
            plain.write(sample.image, seconds=float(index / rate))
            if labeled:
                labeled.write(painter.paint(sample.image, sample.mask), seconds=float(index / rate))
            on_step("")
