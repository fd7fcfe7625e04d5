"""A drive through a drawn street as a video with sound."""

from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from segdeploy.datasets.formats.camvid import CLASSES
from segdeploy.datasets.synthetic.dataset import drive, drive_world
from segdeploy.datasets.synthetic.sound import drive_sound, write_wav
from segdeploy.imaging.overlay import Painter
from segdeploy.video.writer import VideoSink


def film(
    path: Path,
    *,
    seed: int,
    frames: int,
    height: int,
    width: int,
    rate: Fraction,
    weather: str | None = None,
    truth: Path | None,
    on_step: Callable[[str], None],
) -> None:
    """Draw a drive into an MP4 file; stopped half-way it leaves a playable one.

    Args:
        path: The video.
        seed: Which street.
        frames: How many frames.
        height: Of each frame, in pixels.
        width: Of each frame, in pixels.
        rate: Frames a second.
        weather: Light of the drive, one of `WEATHERS`; the street's own where None.
        truth: A second video, with the true classes painted over the drive; None for none.
        on_step: Called once a frame.

    Raises:
        OutputError: A video cannot be written.
    """
    with TemporaryDirectory() as folder, ExitStack() as stack:
        sound = Path(folder) / "drive.wav"
        write_wav(sound, drive_sound(drive_world(seed, weather), float(frames / rate)))
        plain = stack.enter_context(
            VideoSink(path, width=width, height=height, rate=rate, sound=sound)
        )
        painted = (
            stack.enter_context(
                VideoSink(truth, width=width, height=height, rate=rate, sound=sound)
            )
            if truth
            else None
        )
        painter = Painter(CLASSES)
        for index, sample in enumerate(
            islice(drive(seed, height=height, width=width, rate=rate, weather=weather), frames)
        ):
            plain.write(sample.image, seconds=float(index / rate))
            if painted:
                painted.write(painter.paint(sample.image, sample.mask), seconds=float(index / rate))
            on_step("")
