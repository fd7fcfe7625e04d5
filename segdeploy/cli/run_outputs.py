"""Options of `segdeploy run`: what is saved of each frame, and where."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from segdeploy.arrays import Image
from segdeploy.card import LabelClass
from segdeploy.cli.options import NameList, grouped, option, section
from segdeploy.errors import ConfigError
from segdeploy.imaging.io import read_image
from segdeploy.imaging.overlay import CUTOUT, KINDS, MASK, OVERLAY, Renderer
from segdeploy.imaging.palettes import PALETTES, recolor
from segdeploy.system.files import newest_run, result_folder
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import Outputs, SegmentedFrame, VideoInfo
from segdeploy.video.outputs import (
    RECORDS,
    image_outputs,
    image_paths,
    video_outputs,
    video_paths,
)
from segdeploy.video.sources import OpenedSource

PIPE = Path("-")
PIPES = ("y4m", "raw")

IMAGES_NAME, OLD_IMAGES_NAME = "images", "pictures"
"""Name of the folder for a run over images, and the one of earlier versions, which `--resume`
finds."""


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """What is saved of each frame, before the network's classes are known.

    Attributes:
        kinds: Which of `KINDS` are saved.
        opacity: Opacity of the colors in the overlay, in [0, 1].
        legend: Whether the overlay has a legend.
        contours: Whether the outlines of regions are drawn in opaque colors.
        names: Classes that are shown; all where there is none.
        palette: Name or file of other colors; None for the network's own.
        background: What is behind a cutout: an image, or one pixel of its color; transparent where
            None.
    """

    kinds: tuple[str, ...]
    opacity: float
    legend: bool
    contours: bool
    names: tuple[str, ...]
    palette: str | None
    background: Image | None

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: A cutout has no classes, or a background no cutout.
        """
        if CUTOUT in self.kinds and not self.names:
            msg = "a cutout needs its classes; add --classes, for example --classes car,person"
            raise ConfigError(msg)
        if self.background is not None and CUTOUT not in self.kinds:
            msg = "--background is for a cutout; add --save cutout"
            raise ConfigError(msg)

    def renderer(self, classes: Sequence[LabelClass]) -> Renderer:
        """Return what draws the frames of a network with these classes.

        Raises:
            ConfigError: A name in `names` is not a class of the network, or the palette does not
                fit.
        """
        return Renderer(
            recolor(classes, self.palette) if self.palette else classes,
            self.kinds,
            opacity=self.opacity,
            legend=self.legend,
            contours=self.contours,
            only=self._indices(classes) if self.names else None,
            background=self.background,
        )

    def _indices(self, classes: Sequence[LabelClass]) -> list[int]:
        """Return the class index of each name.

        Case matters only where the names of two classes differ only in case.
        """
        exact = {entry.name: index for index, entry in enumerate(classes)}
        known = {name.casefold(): index for name, index in exact.items()} | exact
        indices = []
        for name in self.names:
            index = known.get(name, known.get(name.casefold()))
            if index is None:
                msg = (
                    f"{name!r} in --classes is not a class of the network; its classes are"
                    f" {', '.join(entry.name for entry in classes)}"
                )
                raise ConfigError(msg)
            indices.append(index)
        return indices


def read_background(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> Image | None:
    """Return a color such as "00ff00" as one pixel, or the image of a path."""
    if text is None:
        return None
    digits = text.removeprefix("#")
    is_hex = len(digits) == 6 and set(digits.lower()) <= set("0123456789abcdef")
    if is_hex and not Path(text).exists():
        return np.array([[tuple(bytes.fromhex(digits))[::-1]]], np.uint8)
    return read_image(Path(text))


render_options = grouped(
    "render",
    RenderOptions,
    section(
        "Output",
        option(
            "--save",
            "kinds",
            default=OVERLAY,
            type=NameList(KINDS),
            help=f"What is saved: {', '.join(KINDS)}; several with commas.",
        ),
    ),
    section(
        "Renderer",
        option(
            "--opacity",
            default=0.5,
            type=click.FloatRange(0, 1),
            help="Opacity of the colors in the overlay.",
        ),
        option("--legend/--no-legend", default=True, help="Whether the overlay has a legend."),
        option(
            "--contours", is_flag=True, help="Draw the outlines of the regions in opaque colors."
        ),
        option(
            "--classes",
            "names",
            default=(),
            type=NameList(),
            help="Show these classes only, for example road,car.",
        ),
        option(
            "--palette",
            help=(
                f"Other colors: {', '.join(PALETTES)}, or a TOML file with lines such as"
                ' road = "#804080".'
            ),
        ),
        option(
            "--background",
            callback=read_background,
            show_default="transparent",
            help="Background of a cutout: a color such as 00ff00, or an image.",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class RunTarget:
    """Where the results of a run go.

    Attributes:
        outputs: What writes the results.
        show: Shows a result in the window; does nothing where there is none.
        resumed: How many frames an interrupted run finished.
    """

    outputs: AbstractContextManager[Outputs]
    show: Callable[[SegmentedFrame], None]
    resumed: int = 0


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results go.

    Attributes:
        name: Name of the run's folder; the video's, or `IMAGES_NAME`, where None.
        output: The folder itself, or "-" for standard output; a new one below runs/run where None.
        pipe: Format of standard output, one of `PIPES`.
        show: Whether the overlay is shown in a window.
        resume: Whether an interrupted run is continued.
    """

    name: str | None
    output: Path | None
    pipe: str
    show: bool
    resume: bool

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            click.UsageError: A folder and a name are given, or a pipe is to be resumed.
        """
        if self.resume and self.is_pipe:
            msg = "a run into a pipe cannot be resumed; leave out --resume"
            raise click.UsageError(msg)
        if self.name is not None and self.output is not None:
            msg = "--output is the folder itself; leave out --name, which names one below runs/run"
            raise click.UsageError(msg)

    @property
    def is_pipe(self) -> bool:
        """Whether standard output carries frames, so that text goes to stderr."""
        return self.output == PIPE

    @contextmanager
    def open(
        self,
        opened: OpenedSource,
        renderer: Renderer,
        *,
        encoding: Encoding,
        stop: Callable[[], None],
    ) -> Iterator[RunTarget]:
        """Open the outputs of a run, and its window.

        Args:
            opened: The source; frames that an interrupted run finished are skipped.
            renderer: What is saved of each frame.
            encoding: How videos are encoded.
            stop: Called when the window is closed.

        Yields:
            Where the results go. The run's folder is removed where it stays empty.

        Raises:
            ConfigError: What is saved does not go there.
        """
        if self.show and OVERLAY not in renderer.kinds:
            msg = "--show shows the overlay; add --save overlay"
            raise ConfigError(msg)
        if self.is_pipe:
            outputs = self._pipe_outputs(opened, renderer)
            with _window(Path(), stop=stop, is_shown=self.show) as show:
                yield RunTarget(outputs=outputs, show=show)
            return
        name, output = self._folder(opened)
        with (
            result_folder("run", name, output=output) as folder,
            _window(folder, stop=stop, is_shown=self.show) as show,
        ):
            resumed = skip_finished(opened, folder, renderer) if self.resume else 0
            if opened.info:
                outputs = video_outputs(
                    opened.info, folder, renderer=renderer, encoding=encoding, resumed=resumed
                )
            else:
                outputs = image_outputs(opened.paths, folder, renderer=renderer)
            yield RunTarget(outputs=outputs, show=show, resumed=resumed)

    def _pipe_outputs(
        self, opened: OpenedSource, renderer: Renderer
    ) -> AbstractContextManager[Outputs]:
        from segdeploy.video.writer import pipe_outputs

        info = check_pipe(opened, renderer)
        return pipe_outputs(info, sys.stdout.buffer, kind=renderer.kinds[0], form=self.pipe)

    def _folder(self, opened: OpenedSource) -> tuple[str, Path | None]:
        """Return the name of the run's folder, and its path where it exists already."""
        name = self.name or (opened.info.name if opened.info else IMAGES_NAME)
        if self.output or not self.resume:
            return name, self.output
        found = newest_run("run", name)
        if found is None and name == IMAGES_NAME:
            found = newest_run("run", OLD_IMAGES_NAME)
        return name, found


def skip_finished(opened: OpenedSource, folder: Path, renderer: Renderer) -> int:
    """Let a source skip the frames that an interrupted run finished, and return their number.

    Raises:
        ConfigError: What is saved, or the source, cannot be resumed.
    """
    if records := [kind for kind in renderer.kinds if kind in RECORDS]:
        msg = (
            f"{','.join(records)} cannot be resumed, since it is one file about all frames; leave"
            " it out, or leave out --resume"
        )
        raise ConfigError(msg)
    if opened.images:
        targets = image_paths(opened.images.paths, folder, renderer=renderer).values()
        done = [
            index
            for index, files in enumerate(zip(*targets, strict=True))
            if all(file.exists() for file in files)
        ]
        opened.images.skip(done)
        return len(done)
    if opened.video is None:
        msg = "a live source cannot be resumed; leave out --resume"
        raise ConfigError(msg)
    from segdeploy.video.resume import count_resumable

    paths = video_paths(opened.video, folder, renderer=renderer)
    videos = [path for kind, path in paths.items() if kind in renderer.video_kinds]
    count = count_resumable(videos, [path for path in paths.values() if path not in videos])
    opened.video.skip(count)
    return count


def check_pipe(opened: OpenedSource, renderer: Renderer) -> VideoInfo:
    """Return the properties of a video that can go through a pipe.

    Raises:
        ConfigError: The source is not a video, or what is saved is not a single stream of images.
    """
    if opened.info is None:
        msg = "images differ in size and cannot go through a pipe; name a folder: --output FOLDER"
        raise ConfigError(msg)
    if len(renderer.kinds) != 1 or renderer.kinds[0] not in {OVERLAY, MASK}:
        msg = (
            f"{','.join(renderer.kinds)} cannot go through a pipe; choose one of them:"
            f" --save {OVERLAY}, or --save {MASK}"
        )
        raise ConfigError(msg)
    return opened.info


@contextmanager
def _window(
    folder: Path, *, stop: Callable[[], None], is_shown: bool
) -> Iterator[Callable[[SegmentedFrame], None]]:
    """Open a window if one is to be shown; yield the function that shows a result."""
    if not is_shown:
        yield lambda _: None
        return
    from segdeploy.video.viewer import ScreenWindow, Viewer

    window = ScreenWindow()
    try:
        yield Viewer(window, folder, stop=stop).show_result
    finally:
        window.close()


output_options = grouped(
    "output",
    OutputOptions,
    section(
        "Output",
        option(
            "--output",
            type=click.Path(file_okay=False, allow_dash=True, path_type=Path),
            show_default="runs/run/NAME",
            help="Folder for the results, or - to send frames to standard output.",
        ),
        option(
            "--name",
            show_default=f"the video's, or {IMAGES_NAME}",
            help="Name of the run's folder.",
        ),
        option("--resume", is_flag=True, help="Continue an interrupted run with the same options."),
        option(
            "--show",
            is_flag=True,
            help="Show the overlay in a window: q quits, space pauses, s saves the shown frame.",
        ),
        option(
            "--pipe",
            default="y4m",
            type=click.Choice(PIPES),
            help="Format of the frames on standard output.",
        ),
    ),
)
