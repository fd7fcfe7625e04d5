"""Options that say where frames come from, and which of them are wanted."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from segdeploy.commands.grouping import grouped
from segdeploy.video.opening import Opened, open_any, open_camera, open_pictures, open_video
from segdeploy.video.selection import Selection

DECODERS = ("cpu", "auto", "cuda", "videotoolbox", "d3d11va", "vaapi", "qsv")
"""The processor, whatever device is there, or one by FFmpeg's name."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to read: exactly one of pictures, a video, a camera and any source.

    Attributes:
        more: Pictures that follow the first one.
        image: Pictures, folders and patterns.
        video: A video file.
        camera: Number of a camera.
        source: Any of them, an address, a list, or "-" for standard input.
        raw: What frames without any header are.
        decoder: What decodes a video.
        stride: One frame of so many is taken.
        start: Seconds before which nothing is taken.
        end: Seconds from which on nothing is taken.
        max_frames: How many frames are taken at most.
    """

    more: tuple[Path, ...]
    image: tuple[Path, ...]
    video: Path | None
    camera: int | None
    source: str | None
    raw: str | None
    decoder: str
    stride: int
    start: float
    end: float | None
    max_frames: int | None

    def __post_init__(self) -> None:
        """Refuse options that leave open what to read.

        Raises:
            click.UsageError: None or several are named.
        """
        named = {
            "--image": bool(self.image or self.more),
            "--video": self.video is not None,
            "--camera": self.camera is not None,
            "--source": self.source is not None,
        }
        given = [option for option, is_given in named.items() if is_given]
        if len(given) != 1:
            both = f", not {'both' if len(given) == 2 else 'all'} of {', '.join(given)}" if given else ""
            msg = f"name pictures (--image a.jpg b.png FOLDER), one --video clip.mp4, one --camera 0 or one --source{both}"
            raise click.UsageError(msg)
        if self.decoder != "cpu" and self.video is None:
            msg = f"--decoder {self.decoder} is for a --video; leave it out"
            raise click.UsageError(msg)
        if self.raw is not None and self.source != "-":
            msg = "--raw says what comes through standard input; give --source - too"
            raise click.UsageError(msg)

    def open(self, go_on: Callable[[], bool]) -> Opened:
        """Open the source.

        Args:
            go_on: Asked while a live source gives nothing.

        Raises:
            SegdeployError: It cannot be read, or the selection does not fit it.
        """
        selection = Selection(stride=self.stride, start=self.start, end=self.end, most=self.max_frames)
        if self.video is not None:
            return open_video(self.video, selection=selection, decoder=self.decoder)
        if self.camera is not None:
            return open_camera(self.camera, selection=selection, go_on=go_on)
        if self.source is not None:
            return open_any(self.source, selection=selection, raw=self.raw, pipe=sys.stdin.buffer, go_on=go_on)
        return open_pictures((*self.image, *self.more), selection=selection)


source_options = grouped(
    "wanted",
    Wanted,
    click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[PICTURE...]"),
    click.option(
        "--image",
        multiple=True,
        type=click.Path(path_type=Path),
        help="A picture, a folder or a pattern; more may follow. One that cannot be read is told and left out; the exit code is 3 then.",
    ),
    click.option("--video", type=click.Path(path_type=Path), help="A video. Damaged frames are told and left out."),
    click.option("--camera", type=click.IntRange(min=0), help="Number of a camera; the newest frame wins."),
    click.option("--source", help="Any of these, an address (RTSP, HTTP), a list of paths (.txt), or - for frames on standard input."),
    click.option("--raw", metavar="WxH:FORMAT[@RATE]", help="What frames without a header are, as in 1920x1080:bgr24@30."),
    click.option(
        "--decoder", default="cpu", show_default=True, type=click.Choice(DECODERS), help="What decodes a --video; auto looks for a device."
    ),
    click.option("--stride", default=1, show_default=True, type=click.IntRange(min=1), help="Take one frame of so many."),
    click.option("--start", default=0.0, show_default=True, type=click.FloatRange(min=0), help="Seconds of a video to leave out first."),
    click.option("--end", type=click.FloatRange(min=0), help="Seconds of a video at which to stop."),
    click.option("--max-frames", type=click.IntRange(min=1), help="How many frames to take at most."),
)
