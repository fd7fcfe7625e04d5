"""`run`: encoding and destination options."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from segdeploy.cli.options import grouped
from segdeploy.errors import ConfigError
from segdeploy.imaging.overlay import MASK, OVERLAY, Drawing
from segdeploy.system.runs import newest_run, result_folder
from segdeploy.video.codecs import CODECS, Encoding
from segdeploy.video.frames import Outputs, Segmented, VideoInfo
from segdeploy.video.outputs import (
    RECORDS,
    image_outputs,
    image_paths,
    video_outputs,
    video_paths,
)
from segdeploy.video.sources import Opened
from segdeploy.video.viewer import ScreenWindow, Viewer

PIPE = Path("-")
PIPES = ("y4m", "raw")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results go.

    Attributes:
        name: Name of the run's folder; the film's, or "images", where None.
        output: The folder itself, or "-" for standard output; a fresh one below runs/run where
            None.
        form: What goes through standard output.
        shown: Whether the overlay is shown in a window meanwhile.
        resume: Whether an interrupted run goes on.
    """

    name: str | None
    output: Path | None
    form: str
    shown: bool
    resume: bool

    def __post_init__(self) -> None:
        """Refuse two names.

        Raises:
            click.UsageError: A folder and a name are given.
        """
        if self.resume and self.is_pipe:
            msg = "what went through a pipe is gone; leave out --resume"
            raise click.UsageError(msg)
        if self.name is not None and self.output is not None:
            msg = "--output is the folder itself; leave out --name, which names one below runs/run"
            raise click.UsageError(msg)

    @property
    def is_pipe(self) -> bool:
        """Whether standard output carries frames, so that words go to stderr."""
        return self.output == PIPE

    @contextmanager
    def open(
        self, opened: Opened, drawing: Drawing, *, encoding: Encoding, stop: Callable[[], None]
    ) -> Iterator[tuple[AbstractContextManager[Outputs], Callable[[Segmented], None], int]]:
        """Ready the place.

        Args:
            opened: What is segmented.
            drawing: What is kept of it.
            encoding: How films are compressed.
            stop: Called when the window is closed.

        Yields:
            What keeps the results, what looks at each of them, and how many frames an interrupted
            run did before.

        Raises:
            ConfigError: What is kept does not fit the place.
        """
        if self.shown and OVERLAY not in drawing.kinds:
            msg = "--show shows the overlay; add it: --save overlay"
            raise ConfigError(msg)
        if self.is_pipe:
            from segdeploy.video.writer import pipe_outputs

            outputs = pipe_outputs(
                _film(opened, drawing), sys.stdout.buffer, kind=drawing.kinds[0], form=self.form
            )
            with _looking(Path(), stop=stop, shown=self.shown) as look:
                yield outputs, look, 0
            return
        name = self.name or (opened.film.name if opened.film else "pictures")
        output = self.output or (newest_run("run", name) if self.resume else None)
        with (
            result_folder("run", name, output=output) as folder,
            _looking(folder, stop=stop, shown=self.shown) as look,
        ):
            before = go_on_with(opened, folder, drawing) if self.resume else 0
            if opened.film:
                yield (
                    video_outputs(
                        opened.film, folder, drawing=drawing, encoding=encoding, kept=before
                    ),
                    look,
                    before,
                )
            elif opened.images:
                yield image_outputs(opened.images.paths, folder, drawing=drawing), look, before


def go_on_with(opened: Opened, folder: Path, drawing: Drawing) -> int:
    """Let a source leave out what an interrupted run did, and tell how many frames that is.

    Raises:
        ConfigError: What is kept, or the source, cannot be gone on with.
    """
    if records := [kind for kind in drawing.kinds if kind in RECORDS]:
        msg = (
            f"{','.join(records)} cannot be gone on with, since it is one file about all frames;"
            " leave it out, or leave out --resume"
        )
        raise ConfigError(msg)
    if opened.images:
        targets = zip(
            *image_paths(opened.images.paths, folder, drawing=drawing).values(), strict=True
        )
        done = [
            index for index, files in enumerate(targets) if all(file.exists() for file in files)
        ]
        opened.images.skip(done)
        return len(done)
    if opened.video is None:
        msg = "what a live source showed is gone; leave out --resume"
        raise ConfigError(msg)
    from segdeploy.video.resume import count_kept

    paths = video_paths(opened.video, folder, drawing=drawing)
    films = [path for kind, path in paths.items() if kind in drawing.films]
    count = count_kept(films, [path for path in paths.values() if path not in films])
    opened.video.skip(count)
    return count


def _film(opened: Opened, drawing: Drawing) -> VideoInfo:
    """Return the film that can go through a pipe.

    Raises:
        ConfigError: There is none, or what is kept of it is no single stream of images.
    """
    if opened.film is None:
        msg = (
            "images have sizes of their own and cannot go through a pipe; name a folder: --output"
            " FOLDER"
        )
        raise ConfigError(msg)
    if len(drawing.kinds) != 1 or drawing.kinds[0] not in {OVERLAY, MASK}:
        msg = (
            f"{','.join(drawing.kinds)} cannot go through a pipe; keep one of them: --save"
            f" {OVERLAY}, or --save {MASK}"
        )
        raise ConfigError(msg)
    return opened.film


@contextmanager
def _looking(
    folder: Path, *, stop: Callable[[], None], shown: bool
) -> Iterator[Callable[[Segmented], None]]:
    """Open a window, where one is wanted, and give what shows a result."""
    if not shown:
        yield lambda _: None
        return
    window = ScreenWindow()
    try:
        yield Viewer(window, folder, stop=stop).look
    finally:
        window.close()


output_options = grouped(
    "place",
    OutputOptions,
    click.option("--name", help="Name of the run's folder.  [default: the video's, or images]"),
    click.option(
        "--output",
        type=click.Path(file_okay=False, allow_dash=True, path_type=Path),
        help=(
            "Folder for the results, or - to send frames through standard output.  [default:"
            " runs/run/NAME]"
        ),
    ),
    click.option(
        "--pipe",
        "form",
        default="y4m",
        show_default=True,
        type=click.Choice(PIPES),
        help="What goes through standard output.",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help=(
            "Go on with an interrupted run, with the same options: what is done is not done again."
        ),
    ),
    click.option(
        "--show",
        "shown",
        is_flag=True,
        help="Show the overlay in a window: q ends, space waits, s saves what is shown.",
    ),
)


def scale(attribute: str) -> str:
    """List an attribute of each codec, for a line of help."""
    return ", ".join(f"{name} {getattr(codec, attribute)}" for name, codec in CODECS.items())


encoding_options = grouped(
    "encoding",
    Encoding,
    click.option(
        "--codec",
        default="h264",
        show_default=True,
        type=click.Choice(list(CODECS)),
        help="How the video is compressed.",
    ),
    click.option(
        "--crf",
        type=click.IntRange(min=0),
        help=f"Quality; 0 is the best, the worst is {scale('worst')}.  [default: {scale('crf')}]",
    ),
    click.option(
        "--preset",
        help=(
            "Slower ones make the video smaller: ultrafast to veryslow, or a number.  [default:"
            f" {scale('preset')}]"
        ),
    ),
)
