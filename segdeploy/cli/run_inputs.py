"""Options of `segdeploy run`: what to read, and how the network runs."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from segdeploy.backends.base import Backend
from segdeploy.backends.loading import BACKENDS
from segdeploy.backends.tta import AUGMENTATIONS, SCALE_FACTORS
from segdeploy.cli.options import NameList, grouped, option, section
from segdeploy.errors import ConfigError, DataError
from segdeploy.video.frames import Selection
from segdeploy.video.pipeline import Schedule
from segdeploy.video.smoothing import SMOOTHERS
from segdeploy.video.sources import (
    OpenedSource,
    open_camera,
    open_images,
    open_source,
    open_video,
)

DECODERS = ("cpu", "auto", "cuda", "videotoolbox", "d3d11va", "vaapi", "qsv")
"""The processor, the first hardware decoder that works, or one by its FFmpeg name."""


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What to read: exactly one of images, a video, a camera and any source.

    Attributes:
        more: Images that follow the first one.
        image: Images, folders and patterns.
        video: A video file.
        camera: Number of a camera.
        source: Any of them, an address, a list, or "-" for standard input.
        raw: Size, pixel format and rate of frames without a header.
        decoder: What decodes a video, one of `DECODERS`.
    """

    more: tuple[Path, ...]
    image: tuple[Path, ...]
    video: Path | None
    camera: int | None
    source: str | None
    raw: str | None
    decoder: str

    def __post_init__(self) -> None:
        """Check that exactly one input is named.

        Raises:
            click.UsageError: None or several are named, or an option does not belong to the input.
        """
        inputs = {
            "--image": bool(self.image or self.more),
            "--video": self.video is not None,
            "--camera": self.camera is not None,
            "--source": self.source is not None,
        }
        named = [name for name, is_named in inputs.items() if is_named]
        if len(named) != 1:
            several = f", not {'both' if len(named) == 2 else 'all'} of {', '.join(named)}"
            msg = (
                "name images (--image a.jpg b.png FOLDER), one --video clip.mp4, one --camera 0"
                f" or one --source{several if named else ''}"
            )
            raise click.UsageError(msg)
        if self.decoder != "cpu" and self.video is None:
            msg = f"--decoder {self.decoder} is for a --video; leave it out"
            raise click.UsageError(msg)
        if self.raw is not None and self.source != "-":
            msg = "--raw describes frames on standard input; add --source -"
            raise click.UsageError(msg)

    def open(self, selection: Selection, *, should_stop: Callable[[], bool]) -> OpenedSource:
        """Open the source.

        Args:
            selection: Which frames are read.
            should_stop: Called while a live source delivers nothing.

        Raises:
            SegdeployError: It cannot be read, or the selection does not fit it.
        """
        if self.video is not None:
            return open_video(self.video, selection=selection, decoder=self.decoder)
        if self.camera is not None:
            return open_camera(self.camera, selection=selection, should_stop=should_stop)
        if self.source is not None:
            return open_source(
                self.source,
                selection=selection,
                raw=self.raw,
                pipe=sys.stdin.buffer,
                should_stop=should_stop,
            )
        return open_images((*self.image, *self.more), selection=selection)


input_options = grouped(
    "inputs",
    InputOptions,
    section(
        "Input",
        click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[IMAGE...]"),
        option(
            "--image",
            multiple=True,
            type=click.Path(path_type=Path),
            help=(
                "An image, a folder or a pattern; more may follow. One that cannot be read is"
                " reported and skipped; the exit code is 3 then."
            ),
        ),
        option(
            "--video",
            type=click.Path(path_type=Path),
            help="A video file. Damaged frames are reported and skipped.",
        ),
        option(
            "--camera",
            type=click.IntRange(min=0),
            help="Number of a camera; frames that come too fast are dropped.",
        ),
        option(
            "--source",
            help=(
                "Any of these, an address (RTSP, HTTP), a list of paths (.txt), or - for frames on"
                " standard input."
            ),
        ),
        option(
            "--raw",
            metavar="WxH:FORMAT[@RATE]",
            help="Frames without a header on standard input, for example 1920x1080:bgr24@30.",
        ),
        option(
            "--decoder",
            default="cpu",
            type=click.Choice(DECODERS),
            help="Decoder of a --video; auto looks for a hardware decoder.",
        ),
    ),
)

selection_options = grouped(
    "selection",
    Selection,
    section(
        "Frames",
        option("--stride", default=1, type=click.IntRange(min=1), help="Take every Nth frame."),
        option(
            "--start",
            default=0.0,
            type=click.FloatRange(min=0),
            help="Time in a video at which to start, in seconds.",
        ),
        option(
            "--end",
            type=click.FloatRange(min=0),
            help="Time in a video at which to stop, in seconds.",
        ),
        option("--max-frames", type=click.IntRange(min=1), help="Take at most N frames."),
    ),
)


@dataclass(frozen=True, kw_only=True)
class TorchOptions:
    """How PyTorch runs a checkpoint faster.

    Attributes:
        autocast: Whether it computes in half precision where that is safe.
        compiled: Whether it compiles the network first.
    """

    autocast: bool = False
    compiled: bool = False

    def apply(self, network: Backend, model: Path) -> None:
        """Accelerate a loaded network.

        Raises:
            ConfigError: It is not a checkpoint, or half precision is no faster on the device.
            SegdeployError: It cannot be compiled.
        """
        if not (self.autocast or self.compiled):
            return
        if model.suffix != ".pt":
            msg = (
                f"{model} is not a checkpoint, and an exported file has its precision; leave"
                " --autocast and --compile out"
            )
            raise ConfigError(msg)
        from segdeploy.backends.pytorch import EagerBackend

        assert isinstance(network, EagerBackend), "it runs every checkpoint"
        network.accelerate(autocast=self.autocast, compiled=self.compiled)


torch_options = grouped(
    "torch",
    TorchOptions,
    section(
        "Model",
        option(
            "--autocast",
            is_flag=True,
            help="Run a checkpoint in half precision where it is safe; a few labels may differ.",
        ),
        option(
            "--compile",
            "compiled",
            is_flag=True,
            help="Compile a checkpoint with PyTorch first, which takes minutes.",
        ),
    ),
)


def read_batch(_context: click.Context, _option: click.Parameter, text: str) -> int | None:
    """Return the number of a text; None for "auto"."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is not a number of frames; give 1 or more, or auto"
        raise click.BadParameter(msg)
    return int(text)


scheduling_options = grouped(
    "schedule",
    Schedule,
    section(
        "Scheduling",
        option(
            "--throughput/--latency",
            default=True,
            help=(
                "One frame per core in parallel, for the most frames per second; or all cores on"
                " one frame, for the shortest latency."
            ),
        ),
        option(
            "--threads",
            type=click.IntRange(min=1),
            show_default="every core that the process may use",
            help="Cores that the network uses.",
        ),
        option(
            "--batch",
            default="auto",
            metavar="N|auto",
            callback=read_batch,
            help="Frames per call of the network; auto is 1 on a CPU and is measured on a GPU.",
        ),
        option(
            "--serial",
            is_flag=True,
            help="Run one stage after the other, without threads; the result is the same.",
        ),
    ),
)


backend_option = option(
    "--backend",
    default="auto",
    type=click.Choice(BACKENDS),
    help="Runtime that must run the model.",
)

tta_option = option(
    "--tta",
    default=(),
    type=NameList(AUGMENTATIONS),
    metavar=",".join(AUGMENTATIONS),
    help=(
        "Test-time augmentation: average over the mirrored image (flip) and over"
        f" {' and '.join(map(str, SCALE_FACTORS))} times its size (scales)."
    ),
)

smooth_option = option(
    "--smooth",
    type=click.Choice(SMOOTHERS),
    help=(
        "Reduce flicker in videos: a moving average of the outputs, or hysteresis of each"
        " pixel's class. The flicker before and after is printed."
    ),
)


def refuse_losses(opened: OpenedSource) -> None:
    """Raise a DataError if some of the images could not be read."""
    source = opened.source
    if source.losses and opened.images:
        msg = (
            f"{len(source.losses)} of {source.frames} images could not be read; the others are done"
        )
        raise DataError(msg)
