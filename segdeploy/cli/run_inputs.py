"""`run`: source, scheduling and accuracy options."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from segdeploy.backends.base import Backend
from segdeploy.backends.tta import FACTORS, VIEWS
from segdeploy.card import ModelCard
from segdeploy.cli.options import grouped
from segdeploy.cli.run_overlay import split
from segdeploy.errors import ConfigError
from segdeploy.video.frames import Selection
from segdeploy.video.schedule import Schedule
from segdeploy.video.smoothing import SMOOTHERS, TemporalSmoother, make_smoother
from segdeploy.video.sources import Opened, open_any, open_camera, open_images, open_video


@dataclass(frozen=True, kw_only=True)
class TorchOptions:
    """What PyTorch shall do to run faster.

    Attributes:
        autocast: Whether it computes in half precision where that is safe.
        compiled: Whether it compiles the network first.
    """

    autocast: bool = False
    compiled: bool = False

    def apply(self, network: Backend, model: Path) -> None:
        """Make a loaded network faster.

        Raises:
            ConfigError: It is no checkpoint, or the device has no half precision that it is fast
                with.
            SegdeployError: It cannot be compiled.
        """
        if not (self.autocast or self.compiled):
            return
        if model.suffix != ".pt":
            msg = (
                f"{model} is no checkpoint, and what is exported has its precision; leave"
                " --autocast and --compile out"
            )
            raise ConfigError(msg)
        from segdeploy.backends.pytorch import EagerBackend

        assert isinstance(network, EagerBackend), "that is what runs a checkpoint"
        network.hasten(autocast=self.autocast, compiled=self.compiled)


torch_options = grouped(
    "haste",
    TorchOptions,
    click.option(
        "--autocast",
        is_flag=True,
        help=(
            "Of a checkpoint: half precision where it is safe; a label in thousands may be another"
            " one."
        ),
    ),
    click.option(
        "--compile",
        "compiled",
        is_flag=True,
        help="Of a checkpoint: let PyTorch compile it first, which takes minutes.",
    ),
)


def read_batch(_context: click.Context, _option: click.Parameter, text: str) -> int | None:
    """Read a number, or "auto", which is None."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is no number of frames; give 1 or more, or auto"
        raise click.BadParameter(msg)
    return int(text)


scheduling_options = grouped(
    "pace",
    Schedule,
    click.option(
        "--throughput/--latency",
        default=True,
        show_default=True,
        help=(
            "A frame a core, in parallel: the most frames a second; or all cores on one frame: its"
            " answer soonest."
        ),
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Cores of the network.  [default: as many as the process may use]",
    ),
    click.option(
        "--batch",
        default="auto",
        show_default=True,
        callback=read_batch,
        help=(
            "Frames that the network is given at once; auto tries what a device gains by, and takes"
            " 1 on a processor."
        ),
    ),
    click.option(
        "--serial",
        is_flag=True,
        help="One stage after the other instead of in threads: the same result, to compare.",
    ),
)


def read_views(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> tuple[str, ...]:
    """Read a list as in "flip,scales"."""
    views = split(text or "")
    unknown = [view for view in views if view not in VIEWS]
    if unknown:
        msg = f"{unknown[0]!r} is no way to look at an image; choose from {','.join(VIEWS)}"
        raise click.BadParameter(msg)
    return views


def make_steadying(
    smooth: str | None, card: ModelCard, *, is_film: bool
) -> TemporalSmoother | None:
    """Return what steadies the answers of a film, or None where nobody asked for it.

    Raises:
        ConfigError: The source is no film, or the network's answers cannot be weighed.
    """
    if smooth is None:
        return None
    if not is_film:
        msg = (
            f"images do not follow each other in time; leave out --smooth {smooth}, which is for"
            " videos and cameras"
        )
        raise ConfigError(msg)
    return TemporalSmoother(make_smoother(smooth, card))


tta_option = click.option(
    "--tta",
    "views",
    callback=read_views,
    metavar=",".join(VIEWS),
    help=(
        "Average over more views of each image: in the mirror, and at"
        f" {' and '.join(map(str, FACTORS))} of the size."
    ),
)

smooth_option = click.option(
    "--smooth",
    type=click.Choice(SMOOTHERS),
    help=(
        "Against flicker in films: a moving average of the answers, or a lead for the class that a"
        " place has. How much it helps is told."
    ),
)


DECODERS = ("cpu", "auto", "cuda", "videotoolbox", "d3d11va", "vaapi", "qsv")
"""The processor, whatever device is there, or one by FFmpeg's name."""


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What to read: exactly one of images, a video, a camera and any source.

    Attributes:
        more: Images that follow the first one.
        image: Images, folders and patterns.
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
            both = (
                f", not {'both' if len(given) == 2 else 'all'} of {', '.join(given)}"
                if given
                else ""
            )
            msg = (
                "name images (--image a.jpg b.png FOLDER), one --video clip.mp4, one --camera 0"
                f" or one --source{both}"
            )
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
        selection = Selection(
            stride=self.stride, start=self.start, end=self.end, most=self.max_frames
        )
        if self.video is not None:
            return open_video(self.video, selection=selection, decoder=self.decoder)
        if self.camera is not None:
            return open_camera(self.camera, selection=selection, go_on=go_on)
        if self.source is not None:
            return open_any(
                self.source, selection=selection, raw=self.raw, pipe=sys.stdin.buffer, go_on=go_on
            )
        return open_images((*self.image, *self.more), selection=selection)


source_options = grouped(
    "wanted",
    InputOptions,
    click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[IMAGE...]"),
    click.option(
        "--image",
        multiple=True,
        type=click.Path(path_type=Path),
        help=(
            "An image, a folder or a pattern; more may follow. One that cannot be read is told and"
            " left out; the exit code is 3 then."
        ),
    ),
    click.option(
        "--video",
        type=click.Path(path_type=Path),
        help="A video. Damaged frames are told and left out.",
    ),
    click.option(
        "--camera", type=click.IntRange(min=0), help="Number of a camera; the newest frame wins."
    ),
    click.option(
        "--source",
        help=(
            "Any of these, an address (RTSP, HTTP), a list of paths (.txt), or - for frames on"
            " standard input."
        ),
    ),
    click.option(
        "--raw",
        metavar="WxH:FORMAT[@RATE]",
        help="What frames without a header are, as in 1920x1080:bgr24@30.",
    ),
    click.option(
        "--decoder",
        default="cpu",
        show_default=True,
        type=click.Choice(DECODERS),
        help="What decodes a --video; auto looks for a device.",
    ),
    click.option(
        "--stride",
        default=1,
        show_default=True,
        type=click.IntRange(min=1),
        help="Take one frame of so many.",
    ),
    click.option(
        "--start",
        default=0.0,
        show_default=True,
        type=click.FloatRange(min=0),
        help="Seconds of a video to leave out first.",
    ),
    click.option(
        "--end", type=click.FloatRange(min=0), help="Seconds of a video at which to stop."
    ),
    click.option(
        "--max-frames", type=click.IntRange(min=1), help="How many frames to take at most."
    ),
)
