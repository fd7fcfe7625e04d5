"""Options of `segdeploy run`: where the results go, and how videos are encoded."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from segdeploy.cli.console import note
from segdeploy.cli.options import grouped, option, section
from segdeploy.errors import ConfigError
from segdeploy.imaging.overlay import MASK, OVERLAY, Renderer
from segdeploy.system.locks import is_claimed
from segdeploy.system.runs import newest_run, result_folder
from segdeploy.system.signals import StopRequest
from segdeploy.video.codecs import CODECS, Encoding
from segdeploy.video.frames import Outputs, SegmentedFrame, VideoInfo
from segdeploy.video.outputs import (
    RECORDS,
    check_file,
    image_outputs,
    image_paths,
    is_file_name,
    refuse_existing,
    video_outputs,
    video_parts,
    video_paths,
)
from segdeploy.video.source_kinds import NamedSource
from segdeploy.video.sources import OpenedSource

PIPE = Path("-")
PIPES = ("y4m", "raw")

PATIENCE, PAUSE = 10.0, 0.2
"""Seconds to wait for another run with the same output, and between two looks."""

IMAGES_NAME, OLD_IMAGES_NAME = "images", "pictures"
"""Name of the folder for a run over images, and the one of earlier versions, which `--resume`
finds."""

SEVERAL_NAME = "sources"
"""Name of the folder for a run over several sources."""


@dataclass(frozen=True, kw_only=True)
class RunTarget:
    """Where the results of a run go.

    Attributes:
        outputs: What writes the results.
        show: Shows a result in the window; does nothing where there is none.
        resumed: How many frames an interrupted run finished.
        folder: Folder of the results; None where they go into a pipe.
    """

    outputs: AbstractContextManager[Outputs]
    show: Callable[[SegmentedFrame], None]
    resumed: int = 0
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results go.

    Attributes:
        name: Name of the run's folder; the video's, `IMAGES_NAME` or `SEVERAL_NAME` where None.
        output: The folder itself, the one file of the results, or "-" for standard output; a new
            folder below runs/run where None.
        pipe: Format of standard output, one of `PIPES`.
        show: Whether the overlay is shown in a window.
        resume: Whether an interrupted run is continued.
        overwrite: Whether videos that exist are replaced.
    """

    name: str | None
    output: Path | None
    pipe: str
    show: bool
    resume: bool
    overwrite: bool

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            click.UsageError: A folder and a name are given, a pipe is to be resumed, or what is
                resumed is to be replaced.
            ConfigError: The output is a file of another kind.
        """
        if self.resume and self.is_pipe:
            msg = "a run into a pipe cannot be resumed; leave out --resume"
            raise click.UsageError(msg)
        if self.resume and self.overwrite:
            msg = "--overwrite begins anew, and --resume continues; leave out one of the two"
            raise click.UsageError(msg)
        if self.name is not None and self.output is not None:
            msg = "--output is the folder itself; leave out --name, which names one below runs/run"
            raise click.UsageError(msg)
        if self.output is not None and self.output.is_file() and self.file is None:
            msg = (
                f"{self.output} is a file; name a folder, or a file such as {self.output.stem}.mp4"
            )
            raise ConfigError(msg)

    @property
    def is_pipe(self) -> bool:
        """Whether standard output carries frames, so that text goes to stderr."""
        return self.output == PIPE

    @property
    def file(self) -> Path | None:
        """The one file of the results, where `output` names one."""
        return self.output if self.output is not None and is_file_name(self.output) else None

    @contextmanager
    def folder(self, name: str) -> Iterator[Path | None]:
        """Provide the folder of a run's results, and remove it again where it stays empty.

        Args:
            name: Name of the run, where none was given.

        Yields:
            The folder; None where the results go into a pipe.

        Raises:
            ConfigError: The name is not a plain file name.
            OutputError: The folder cannot be created.
        """
        if self.is_pipe:
            yield None
            return
        name = self.name or name
        output = self.output if self.file is None else self.file.parent
        if output is None and self.resume:
            output = newest_run("run", name)
            if output is None and name == IMAGES_NAME:
                output = newest_run("run", OLD_IMAGES_NAME)
        with result_folder("run", name, output=output) as folder:
            yield folder

    def check_sources(self, sources: Sequence[NamedSource]) -> None:
        """Raise a ConfigError where the results of several sources do not go there."""
        if len(sources) > 1 and (self.is_pipe or self.file is not None):
            where = "a pipe" if self.is_pipe else f"{self.file}, which is one file"
            msg = f"{len(sources)} sources cannot go into {where}; name a folder for --output"
            raise ConfigError(msg)

    def check_free(self, names: Sequence[str], folder: Path | None, renderer: Renderer) -> None:
        """Raise a ConfigError where a result of one of these videos exists already."""
        if folder is None or self.overwrite or self.resume:
            return
        for name in names:
            refuse_existing(video_paths(name, folder, renderer=renderer, file=self.file), renderer)

    @contextmanager
    def open(
        self,
        opened: OpenedSource,
        renderer: Renderer,
        *,
        folder: Path | None,
        encoding: Encoding,
        stop: StopRequest,
    ) -> Iterator[RunTarget]:
        """Open the outputs of one source, and its window.

        Args:
            opened: The source; frames that an interrupted run finished are skipped.
            renderer: What is saved of each frame.
            folder: What `folder` yielded.
            encoding: How videos are encoded.
            stop: Requested when the window is closed; told where the results in progress are.

        Yields:
            Where the results go.

        Raises:
            ConfigError: What is saved does not go there.
        """
        if self.show and OVERLAY not in renderer.kinds:
            msg = "--show shows the overlay; add --save overlay"
            raise ConfigError(msg)
        if folder is None:
            outputs = self._pipe_outputs(opened, renderer)
            with _window(Path(), stop=stop.request, is_shown=self.show) as show:
                yield RunTarget(outputs=outputs, show=show)
            return
        self._check_file(opened, renderer)
        with _window(folder, stop=stop.request, is_shown=self.show) as show:
            if opened.info:
                parts = video_parts(opened.info.name, folder, renderer=renderer, file=self.file)
                wait_for_other_run(parts, should_stop=lambda: stop.requested)
                stop.kept = parts
            resumed = self._skip_finished(opened, folder, renderer) if self.resume else 0
            if opened.info:
                outputs = video_outputs(
                    opened.info,
                    folder,
                    renderer=renderer,
                    encoding=encoding,
                    resumed=resumed,
                    overwrite=self.overwrite or self.resume,
                    file=self.file,
                )
            else:
                outputs = image_outputs(opened.paths, folder, renderer=renderer, file=self.file)
            yield RunTarget(outputs=outputs, show=show, resumed=resumed, folder=folder)

    def _check_file(self, opened: OpenedSource, renderer: Renderer) -> None:
        if self.file is None:
            return
        count = len(opened.paths) if opened.images else None
        source = opened.video.audio if opened.video else next(iter(opened.paths), None)
        check_file(self.file, renderer, source=source, count=count)

    def _pipe_outputs(
        self, opened: OpenedSource, renderer: Renderer
    ) -> AbstractContextManager[Outputs]:
        from segdeploy.video.pipe import pipe_outputs

        info = check_pipe(opened, renderer)
        return pipe_outputs(info, sys.stdout.buffer, kind=renderer.kinds[0], form=self.pipe)

    def _skip_finished(self, opened: OpenedSource, folder: Path, renderer: Renderer) -> int:
        """Let a source skip the frames that an interrupted run finished, and return their number.

        Raises:
            ConfigError: What is saved, or the source, cannot be resumed.
        """
        if records := [kind for kind in renderer.kinds if kind in RECORDS]:
            msg = (
                f"{','.join(records)} cannot be resumed, since it is one file about all frames;"
                " leave it out, or leave out --resume"
            )
            raise ConfigError(msg)
        if opened.images:
            targets = image_paths(
                opened.images.paths, folder, renderer=renderer, file=self.file
            ).values()
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

        paths = video_paths(opened.video.name, folder, renderer=renderer, file=self.file)
        videos = [path for kind, path in paths.items() if kind in renderer.video_kinds]
        count = count_resumable(videos, [path for path in paths.values() if path not in videos])
        opened.video.skip(count)
        return count


def wait_for_other_run(
    parts: Sequence[Path], *, should_stop: Callable[[], bool], patience: float = PATIENCE
) -> None:
    """Wait for another run that writes the same videos, which may be about to end.

    Args:
        parts: The videos in progress.
        should_stop: Returns whether to wait no longer.
        patience: Seconds to wait at most.
    """
    end = time.monotonic() + patience
    taken = next((part for part in parts if is_claimed(part)), None)
    if taken:
        note(f"another run is writing {taken}; waiting {patience:g} s for it")
    while any(map(is_claimed, parts)) and time.monotonic() < end and not should_stop():
        time.sleep(PAUSE)


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
            type=click.Path(allow_dash=True, path_type=Path),
            show_default="runs/run/NAME",
            help=(
                "Folder for the results; the file itself where there is one, for example out.mp4"
                " or out.png; or - to send frames to standard output."
            ),
        ),
        option(
            "--name",
            show_default=f"the video's, {IMAGES_NAME}, or {SEVERAL_NAME}",
            help="Name of the run's folder.",
        ),
        option("--resume", is_flag=True, help="Continue an interrupted run with the same options."),
        option("--overwrite", is_flag=True, help="Replace videos that exist."),
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


def list_defaults(attribute: str) -> str:
    """Return an attribute of each codec as one text, for example "h264 23, hevc 28"."""
    return ", ".join(f"{name} {getattr(codec, attribute)}" for name, codec in CODECS.items())


encoding_options = grouped(
    "encoding",
    Encoding,
    section(
        "Video",
        option(
            "--codec", default="h264", type=click.Choice(list(CODECS)), help="Codec of the video."
        ),
        option(
            "--crf",
            type=click.IntRange(min=0),
            show_default=list_defaults("crf"),
            help=f"Quality: 0 is the best; the worst is {list_defaults('worst')}.",
        ),
        option(
            "--preset",
            show_default=list_defaults("default_preset"),
            help="A slower preset makes a smaller file: ultrafast to veryslow, or a number.",
        ),
    ),
)
