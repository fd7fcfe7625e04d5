"""Open the source that a user names: images, a video, a camera, an address or a pipe."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from segdeploy.arrays import Image
from segdeploy.card import InputSpec
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.bands import reader_for
from segdeploy.imaging.io import list_images, read_image
from segdeploy.video.frames import Frame, VideoInfo
from segdeploy.video.run_options import Selection
from segdeploy.video.source_kinds import NamedSource, SourceKind, find_sources

if TYPE_CHECKING:
    from av.container import InputContainer

    from segdeploy.video.live import Feed, LiveSource
    from segdeploy.video.reader import VideoSource


class ImageSource:
    """Image files, each of its own size; a frame's index is that of its path.

    Attributes:
        paths: Every image: files in the given order, and those in folders, sorted by name.
        frames: How many will be read.
        losses: Why images were skipped so far, a sentence each, with the file's name.
        notes: What was converted so far, a sentence each; of images, nothing.
    """

    def __init__(self, paths: Sequence[Path], *, selection: Selection | None = None) -> None:
        """Find the images.

        Args:
            paths: Files, and folders of which every image is taken.
            selection: Which of them are read, by stride and number; all where None.

        Raises:
            DataError: A path does not exist, or there is no image.
        """
        selection = selection or Selection()
        self.paths = list_images(paths)[:: selection.stride][: selection.max_frames]
        self.frames = len(self.paths)
        self._skipped: frozenset[int] = frozenset()
        self._read: Callable[[Path], Image] = read_image
        self.losses: list[str] = []
        self.notes: list[str] = []

    def read_as(self, spec: InputSpec) -> None:
        """Read the images as a network takes them, with its bands and bits."""
        self._read = reader_for(spec)
        self.notes.append(
            f"images are read as {len(spec.channels)} bands of {spec.dtype}, and drawn upon with"
            " each band stretched between its 2nd and 98th percentile"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open between two images."""

    def skip(self, indices: Collection[int]) -> None:
        """Skip these images, which an interrupted run finished."""
        self._skipped = frozenset(indices)
        self.frames = len(self.paths) - len(self._skipped)

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self.paths):
            if index in self._skipped:
                continue
            try:
                image = self._read(path)
            except DataError as error:
                self.losses.append(str(error))
                continue
            yield Frame(image=image, index=index, seconds=0.0)


RAW = re.compile(r"(\d+)x(\d+):(\w+)(?:@(\d+(?:/\d+)?))?")
"""Width, height, pixel format and optionally rate of frames without a header."""


@dataclass(frozen=True, kw_only=True)
class OpenedSource:
    """A source that is ready to be read; exactly one attribute is set.

    It is a context manager that closes the source.

    Attributes:
        images: Image files.
        video: A recorded video.
        live: A camera or a live stream, which does not wait.
    """

    images: ImageSource | None = None
    video: "VideoSource | None" = None
    live: "LiveSource | None" = None

    @property
    def source(self) -> "ImageSource | VideoSource | LiveSource":
        """The one that is set."""
        source = self.images or self.video or self.live
        assert source is not None
        return source

    @property
    def info(self) -> VideoInfo | None:
        """The source if it is a video or live; None for images."""
        return self.video or self.live

    @property
    def paths(self) -> Sequence[Path]:
        """The images by their frames' index; none of a video."""
        return self.images.paths if self.images else ()

    def rename(self, name: str) -> None:
        """Set the stem of the names of a video's results."""
        video = self.video or self.live
        assert video is not None, "images have names of their own"
        video.name = name

    def __enter__(self) -> Self:
        self.source.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.__exit__()


def open_images(paths: Sequence[Path], *, selection: Selection) -> OpenedSource:
    """Open images and folders of images.

    Raises:
        ConfigError: The selection has times, and image files do not.
        DataError: There is no image.
    """
    if selection.is_timed:
        msg = (
            "images have no time; leave out --start and --end, which are for videos, and use"
            " --stride or --max-frames"
        )
        raise ConfigError(msg)
    return OpenedSource(images=ImageSource(paths, selection=selection))


def open_video(path: Path, *, selection: Selection, decoder: str = "cpu") -> OpenedSource:
    """Open a video file."""
    from segdeploy.video.reader import VideoSource

    source = VideoSource(path, selection=selection, decoder=decoder)
    return OpenedSource(video=source)


def open_camera(
    number: int, *, selection: Selection, should_stop: Callable[[], bool]
) -> OpenedSource:
    """Open a camera of this machine."""
    from segdeploy.video.live import CameraFeed

    return _live(f"camera-{number}", partial(CameraFeed, number), selection, should_stop)


def open_source(
    text: str,
    *,
    selection: Selection,
    raw: str | None,
    pipe: BinaryIO,
    should_stop: Callable[[], bool],
) -> OpenedSource:
    """Open the one source that a text names.

    Args:
        text: "-" for the pipe, an address, a camera's number, a folder, a pattern, a list of paths
            (.txt), an image or a video.
        selection: Which frames are read.
        raw: Size, format and rate of frames without a header, as in "1920x1080:bgr24@30"; None
            where there is a header.
        pipe: What "-" reads: standard input.
        should_stop: Called while a live source delivers no frame.

    Raises:
        ConfigError: It names several sources, or the selection does not fit it.
        DataError: It cannot be read.
    """
    sources = find_sources([text])
    if len(sources) > 1:
        msg = f"{text} holds {len(sources)} sources; name one of them, for example {sources[-1]}"
        raise ConfigError(msg)
    return open_named(sources[0], selection=selection, raw=raw, pipe=pipe, should_stop=should_stop)


def open_named(
    source: NamedSource,
    *,
    selection: Selection,
    raw: str | None,
    pipe: BinaryIO,
    should_stop: Callable[[], bool],
    decoder: str = "cpu",
) -> OpenedSource:
    """Open a source that `find_sources` returned.

    Args:
        source: What it is.
        selection: Which frames are read.
        raw: As in `open_source`.
        pipe: As in `open_source`.
        should_stop: Called while a live source delivers no frame.
        decoder: What decodes a video file.

    Raises:
        ConfigError: The selection has times, and image files do not.
        DataError: It cannot be read.
    """
    if source.kind is SourceKind.IMAGES:
        return open_images(source.paths, selection=selection)
    if source.kind is SourceKind.VIDEO:
        return open_video(Path(source.text), selection=selection, decoder=decoder)
    if source.kind is SourceKind.CAMERA:
        return open_camera(int(source.text), selection=selection, should_stop=should_stop)
    if source.kind is SourceKind.ADDRESS:
        return open_address(source.text, selection=selection, should_stop=should_stop)
    from segdeploy.video.reader import VideoSource

    video = VideoSource(Path("standard-input"), selection=selection, opened=_open_pipe(pipe, raw))
    return OpenedSource(video=video)


def open_address(
    address: str, *, selection: Selection, should_stop: Callable[[], bool]
) -> OpenedSource:
    """Open an address: one with a duration as a video, of which every frame is read.

    Any other is live.

    Raises:
        DataError: There is no response, or it is not a video.
    """
    from segdeploy.video.container import connect
    from segdeploy.video.live import AddressFeed, connect_feed
    from segdeploy.video.reader import VideoSource

    container = connect(address)
    if container.duration:
        source = VideoSource(Path(_short(address)), selection=selection, opened=container)
        return OpenedSource(video=source)
    first: list[Feed] = [AddressFeed(address, container)]
    return _live(
        address, lambda: first.pop() if first else connect_feed(address), selection, should_stop
    )


def _live(
    name: str,
    connect_next: "Callable[[], Feed]",
    selection: Selection,
    should_stop: Callable[[], bool],
) -> OpenedSource:
    from segdeploy.video.live import LiveSource

    source = LiveSource(name, connect_next, selection=selection, should_stop=should_stop)
    source.name = _short(name)
    return OpenedSource(live=source)


def _short(address: str) -> str:
    """Return a plain file name for an address: its last part without the query."""
    last = address.partition("?")[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.-]", "-", last) or "address"


def _open_pipe(pipe: BinaryIO, raw: str | None) -> "InputContainer":
    """Open frames that arrive through a pipe, in a format that FFmpeg detects or as raw frames.

    Raises:
        ConfigError: The description of raw frames has another form.
        DataError: Nothing arrives, or it is not a video.
    """
    import av

    from segdeploy.video.container import open_pipe, reason

    form, options = (None, {}) if raw is None else ("rawvideo", _raw_options(raw))
    try:
        return open_pipe(pipe, form=form, options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        msg = (
            f"standard input is not a video ({reason(error)}); send Y4M or MJPEG, or describe raw"
            " frames: --raw 1920x1080:bgr24@30"
        )
        raise DataError(msg) from error


def _raw_options(raw: str) -> dict[str, str]:
    match = RAW.fullmatch(raw)
    if match is None or not _is_pixel_format(match[3]):
        msg = (
            f"{raw!r} does not describe raw frames; write width, height, FFmpeg's pixel format and"
            " rate, as in 1920x1080:bgr24@30"
        )
        raise ConfigError(msg)
    width, height, pixel_format, rate = match.groups()
    return {
        "video_size": f"{width}x{height}",
        "pixel_format": pixel_format,
        "framerate": rate or "25",
    }


def _is_pixel_format(name: str) -> bool:
    from av.video.format import VideoFormat

    try:
        VideoFormat(name)
    except ValueError:
        return False
    return True
