"""Options of `segdeploy run`: what to read, and how the network runs."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdeploy.backends.names import AUGMENTATIONS, BACKENDS, SCALE_FACTORS
from segdeploy.cli.options import ImageSize, NameList, grouped, option, section
from segdeploy.errors import ConfigError
from segdeploy.video.run_options import Schedule, Selection

if TYPE_CHECKING:
    from segdeploy.backends.base import Backend
    from segdeploy.video.source_kinds import NamedSource
    from segdeploy.video.sources import OpenedSource

DECODERS = ("cpu", "auto", "cuda", "videotoolbox", "d3d11va", "vaapi", "qsv")
"""The processor, the first hardware decoder that works, or one by its FFmpeg name."""

ARTIFACTS = (".onnx", ".pt", ".pt2", ".torchscript", ".xml")
"""Extensions of networks, which are no source."""


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What to read.

    Attributes:
        sources: Anything, told apart by what it is.
        image: Images, folders and patterns.
        video: Video files.
        camera: Number of a camera.
        source: As `sources`.
        recursive: Whether folders below folders are entered.
        raw: Size, pixel format and rate of frames without a header.
        decoder: What decodes a video, one of `DECODERS`.
    """

    sources: tuple[str, ...]
    image: tuple[Path, ...]
    video: tuple[Path, ...]
    camera: int | None
    source: tuple[str, ...]
    recursive: bool
    raw: str | None
    decoder: str

    def __post_init__(self) -> None:
        """Check that something is named.

        Raises:
            click.UsageError: Nothing is, or a model.
        """
        if not (self.sources or self.image or self.video or self.source) and self.camera is None:
            msg = (
                "name images, folders, a video, an address or a camera, for example: segdeploy run"
                " dashcam.mp4"
            )
            raise click.UsageError(msg)
        for text in self.sources:
            if Path(text).suffix.lower() in ARTIFACTS:
                msg = f"{text} is a model, not a source; write --model {text}"
                raise click.UsageError(msg)

    def find(self) -> "list[NamedSource]":
        """Return the sources in the order in which they are processed: all images first.

        Raises:
            click.UsageError: An option does not belong to any of them.
            ConfigError: Several of them never end.
            DataError: One is not there.
        """
        # `--help` imports nothing that reads images or videos.
        from segdeploy.video.source_kinds import SourceKind, find_sources

        found = find_sources(
            (*self.sources, *self.source),
            images=self.image,
            videos=self.video,
            cameras=() if self.camera is None else (self.camera,),
            recursive=self.recursive,
        )
        kinds = {source.kind for source in found}
        if self.decoder != "cpu" and SourceKind.VIDEO not in kinds:
            msg = f"--decoder {self.decoder} is for a video file; leave it out"
            raise click.UsageError(msg)
        if self.raw is not None and SourceKind.PIPE not in kinds:
            msg = "--raw describes frames on standard input; add --source -"
            raise click.UsageError(msg)
        live = [str(source) for source in found if source.is_live]
        if len(live) > 1:
            msg = (
                f"{live[0]} and {live[1]} never end, and sources are processed one after the"
                " other; start a run for each, or 'segdeploy serve' for all"
            )
            raise ConfigError(msg)
        return found

    def open(
        self, source: "NamedSource", selection: Selection, *, should_stop: Callable[[], bool]
    ) -> "OpenedSource":
        """Open one of the sources.

        Args:
            source: What `find` returned.
            selection: Which frames are read.
            should_stop: Called while a live source delivers nothing.

        Raises:
            SegdeployError: It cannot be read, or the selection does not fit it.
        """
        from segdeploy.video.sources import open_named

        return open_named(
            source,
            selection=selection,
            raw=self.raw,
            pipe=sys.stdin.buffer,
            should_stop=should_stop,
            decoder=self.decoder,
        )


input_options = grouped(
    "inputs",
    InputOptions,
    section(
        "Input",
        click.argument("sources", nargs=-1, metavar="[SOURCE...]"),
        option(
            "--recursive", is_flag=True, help="Also take what lies in folders below the folders."
        ),
        option(
            "--image",
            multiple=True,
            type=click.Path(path_type=Path),
            help=(
                "An image, a folder or a pattern, of which only images are taken. One that cannot"
                " be read is reported and skipped; the exit code is 3 then."
            ),
        ),
        option(
            "--video",
            multiple=True,
            type=click.Path(path_type=Path),
            help="A video file, whatever its name. Damaged frames are reported and skipped.",
        ),
        option(
            "--camera",
            type=click.IntRange(min=0),
            help="Number of a camera; frames that come too fast are dropped.",
        ),
        option("--source", multiple=True, help="The same as SOURCE; may be repeated."),
        option(
            "--raw",
            metavar="WxH:FORMAT[@RATE]",
            help="Frames without a header on standard input, for example 1920x1080:bgr24@30.",
        ),
        option(
            "--decoder",
            default="cpu",
            type=click.Choice(DECODERS),
            help="Decoder of video files; auto looks for a hardware decoder.",
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

    def apply(self, network: "Backend", model: Path) -> None:
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

imgsz_option = option(
    "--imgsz",
    type=ImageSize(),
    show_default="its own",
    help="Size of the network's input in pixels, for files of any size.",
)

tile_option = option(
    "--tile",
    type=ImageSize(),
    help="Cut images into tiles of this size; no image is held in memory as a whole.",
)

overlap_option = option(
    "--overlap",
    default=64,
    type=click.IntRange(min=0),
    help="Pixels in which neighboring tiles blend.",
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
