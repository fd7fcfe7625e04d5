"""What a user names -> a source; images as a source."""

import glob
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.io import ENDINGS, list_images, read_image
from segdeploy.video.frames import Frame, Selection, VideoInfo

if TYPE_CHECKING:
    from av.container import InputContainer

    from segdeploy.video.live import Feed, LiveSource
    from segdeploy.video.reader import VideoSource


class ImageSource:
    """Images one after the other, each of its own size; a frame's index is the place of its path.

    Attributes:
        paths: Every image: files as they were given, and those in folders, sorted by name.
        frames: How many will be read.
        losses: Why images were left out so far, a sentence each, with the file's name.
        notes: What was changed so far, a sentence each; of images, nothing.
    """

    def __init__(self, paths: Sequence[Path], *, selection: Selection | None = None) -> None:
        """Look for the images.

        Args:
            paths: Files, and folders of which every image is taken.
            selection: Which of them are wanted, by stride and number; all where None.

        Raises:
            DataError: A path does not exist, or there is no image.
        """
        chosen = selection or Selection()
        self.paths = list_images(paths)[:: chosen.stride][: chosen.most]
        self.frames = len(self.paths)
        self._done: frozenset[int] = frozenset()
        self.losses: list[str] = []
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open between two images."""

    def skip(self, indices: Collection[int]) -> None:
        """Leave out these: an interrupted run has done them."""
        self._done = frozenset(indices)
        self.frames = len(self.paths) - len(self._done)

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self.paths):
            if index in self._done:
                continue
            try:
                image = read_image(path)
            except DataError as error:
                self.losses.append(str(error))
                continue
            yield Frame(image=image, index=index, seconds=0.0)


RAW = re.compile(r"(\d+)x(\d+):(\w+)(?:@(\d+(?:/\d+)?))?")
"""Width, height, pixel format and, where it is said, rate of frames without any header."""

PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A source that is ready to be read, one of three; a context manager, whose end closes it.

    Attributes:
        images: Images of their own.
        video: A film that was recorded.
        live: What does not wait.
    """

    images: ImageSource | None = None
    video: "VideoSource | None" = None
    live: "LiveSource | None" = None

    @property
    def source(self) -> "ImageSource | VideoSource | LiveSource":
        """Whichever it is."""
        source = self.images or self.video or self.live
        assert source is not None
        return source

    @property
    def film(self) -> VideoInfo | None:
        """The source where its frames belong to one film."""
        return self.video or self.live

    @property
    def paths(self) -> Sequence[Path]:
        """The images by their frames' index; none of a film."""
        return self.images.paths if self.images else ()

    def __enter__(self) -> Self:
        self.source.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.__exit__()


def open_images(paths: Sequence[Path], *, selection: Selection) -> Opened:
    """Open images, folders of images, and patterns as in "day/*.jpg".

    Raises:
        ConfigError: The selection asks for times, which images have not.
        DataError: There is no image.
    """
    if selection.is_timed:
        msg = (
            "images have no time; leave out --start and --end, which are for videos, and take"
            " --stride or --max-frames"
        )
        raise ConfigError(msg)
    source = ImageSource([match for path in paths for match in _matches(path)], selection=selection)
    return Opened(images=source)


def open_video(path: Path, *, selection: Selection, decoder: str = "cpu") -> Opened:
    """Open a video file."""
    from segdeploy.video.reader import VideoSource

    source = VideoSource(path, selection=selection, decoder=decoder)
    return Opened(video=source)


def open_camera(number: int, *, selection: Selection, go_on: Callable[[], bool]) -> Opened:
    """Open a camera of this machine."""
    from segdeploy.video.live import CameraFeed

    return _live(f"camera-{number}", partial(CameraFeed, number), selection, go_on)


def open_any(
    text: str, *, selection: Selection, raw: str | None, pipe: BinaryIO, go_on: Callable[[], bool]
) -> Opened:
    """Open whatever a text names.

    Args:
        text: "-" for the pipe, an address, a camera's number, a folder, a pattern, a list of paths
            (.txt), an image or a video.
        selection: Which frames are wanted.
        raw: What frames without any header are, as in "1920x1080:bgr24@30"; None where a header
            tells.
        pipe: What "-" reads: standard input.
        go_on: Asked while a live source gives nothing.
    """
    path = Path(text)
    if text == "-":
        from segdeploy.video.reader import VideoSource

        source = VideoSource(
            Path("standard-input"), selection=selection, opened=_open_pipe(pipe, raw)
        )
        return Opened(video=source)
    if "://" in text:
        return open_address(text, selection=selection, go_on=go_on)
    if text.isdecimal() and not path.exists():
        return open_camera(int(text), selection=selection, go_on=go_on)
    if path.suffix.lower() == ".txt":
        return open_images(_listed(path), selection=selection)
    if (
        path.is_dir()
        or path.suffix.lower() in ENDINGS
        or (PATTERN.search(text) and not path.exists())
    ):
        return open_images([path], selection=selection)
    return open_video(path, selection=selection)


def open_address(address: str, *, selection: Selection, go_on: Callable[[], bool]) -> Opened:
    """Open an address: one that tells how long it is is a film, of which every frame is wanted.

    Else it is live.

    Raises:
        DataError: Nothing answers there, or nothing that is a video.
    """
    from segdeploy.video.live import AddressFeed, connect, connect_feed
    from segdeploy.video.reader import VideoSource

    container = connect(address)
    if container.duration:
        source = VideoSource(Path(_short(address)), selection=selection, opened=container)
        return Opened(video=source)
    first: list[Feed] = [AddressFeed(address, container)]
    return _live(address, lambda: first.pop() if first else connect_feed(address), selection, go_on)


def _live(
    name: str, connect_again: "Callable[[], Feed]", selection: Selection, go_on: Callable[[], bool]
) -> Opened:
    from segdeploy.video.live import LiveSource

    source = LiveSource(name, connect_again, selection=selection, go_on=go_on)
    source.name = _short(name)
    return Opened(live=source)


def _short(address: str) -> str:
    """Make a plain name of a file.

    Of an address its last part, without what follows a question mark.
    """
    last = address.partition("?")[0].rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.-]", "-", last) or "address"


def _matches(path: Path) -> list[Path]:
    """Return the files of a pattern, by name.

    A path that exists is what it is, whatever letters it has.
    """
    if path.exists() or not PATTERN.search(str(path)):
        return [path]
    found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not found:
        msg = f"nothing is called as in {path}; check the pattern"
        raise DataError(msg)
    return [one for one in found if one.suffix.lower() in ENDINGS] or found


def _listed(path: Path) -> list[Path]:
    """Read a list of paths, one a line, relative to the list's own folder."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} is no list of paths that can be read ({error}); write one path a line"
        raise DataError(msg) from error
    return [
        path.parent / line.strip() for line in lines if line.strip() and not line.startswith("#")
    ]


def _open_pipe(pipe: BinaryIO, raw: str | None) -> "InputContainer":
    """Open frames that come through a pipe.

    Whatever FFmpeg knows by its header, or frames without one.

    Raises:
        ConfigError: The text that says what raw frames are says it in another way.
        DataError: Nothing comes, or nothing that is a video.
    """
    import av

    form, options = (None, {}) if raw is None else ("rawvideo", _raw_options(raw))
    try:
        return av.open(pipe, "r", format=form, options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        msg = (
            f"what comes through standard input is no video ({error}); send Y4M or MJPEG, or say"
            " what it is: --raw 1920x1080:bgr24@30"
        )
        raise DataError(msg) from error


def _raw_options(raw: str) -> dict[str, str]:
    found = RAW.fullmatch(raw)
    if found is None or not _is_format(found[3]):
        msg = (
            f"{raw!r} does not say what raw frames are; write width, height, FFmpeg's pixel format"
            " and rate, as in 1920x1080:bgr24@30"
        )
        raise ConfigError(msg)
    return {
        "video_size": f"{found[1]}x{found[2]}",
        "pixel_format": found[3],
        "framerate": found[4] or "25",
    }


def _is_format(name: str) -> bool:
    from av.video.format import VideoFormat

    try:
        VideoFormat(name)
    except ValueError:
        return False
    return True
