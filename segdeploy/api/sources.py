"""Sources of a stream: files, addresses and cameras by their names, and images in memory."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from segdeploy.api.images import FETCHED, Color, ItemSource, check_color
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.io import EXTENSIONS
from segdeploy.video.pipeline import Source
from segdeploy.video.run_options import Schedule, Selection
from segdeploy.video.source_kinds import NamedSource, SourceKind, find_sources
from segdeploy.video.sources import OpenedSource, open_named

NAMED = (str, Path, int)
"""Types of what names a source: a path, an address or a pattern, and the number of a camera."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a source is read and processed.

    Attributes:
        selection: Which frames are read.
        schedule: How many frames are processed at once.
        color: Order of the channels of arrays and tensors; see `to_image`.
        smooth: Name of a temporal smoother; None for none.
        decoder: What decodes a video file.
        raw: Size, format and rate of frames without a header on standard input.
    """

    selection: Selection
    schedule: Schedule
    color: Color | None = None
    smooth: str | None = None
    decoder: str = "cpu"
    raw: str | None = None


@dataclass(frozen=True, kw_only=True)
class Input:
    """A source that can be read once.

    Attributes:
        source: Its frames.
        stop: Set to end a source that delivers nothing.
        opened: The opened source; None for images in memory.
        name: What results call it: path, address, or number of a camera; "" for images.
    """

    source: Source
    stop: Event = field(default_factory=Event)
    opened: OpenedSource | None = None
    name: str = ""

    @property
    def is_live(self) -> bool:
        """Whether only its newest frame counts."""
        return self.opened is not None and self.opened.live is not None

    @property
    def is_video(self) -> bool:
        """Whether its frames follow each other in time."""
        return self.opened is not None and self.opened.info is not None

    @property
    def is_empty(self) -> bool:
        """Whether it ended as a list or an iterator without any image."""
        return isinstance(self.source, ItemSource) and self.source.is_empty

    def open(self) -> AbstractContextManager[object]:
        """Return a context manager in which it can be read."""
        return self.opened or nullcontext()

    def name_of(self, index: int) -> str:
        """Return the path or the address of a frame; of an image in memory only once."""
        if isinstance(self.source, ItemSource):
            return self.source.names.pop(index)
        paths = self.opened.paths if self.opened else ()
        return str(paths[index]) if paths else self.name

    def check_losses(self) -> None:
        """Check that every image file was read.

        Raises:
            DataError: Some could not be.
        """
        if self.opened is not None and self.opened.images and self.source.losses:
            msg = (
                f"{len(self.source.losses)} of {self.source.frames} images could not be read; the"
                f" others are done ({'; '.join(self.source.losses)})"
            )
            raise DataError(msg)


def inputs_of(
    source: Any,  # noqa: ANN401 - of any kind
    settings: Settings,
) -> Iterator[Input]:
    """Open the sources that a value stands for, each when it is its turn.

    Args:
        source: A path, an address, a camera's number, or several of these; or images in memory.
        settings: How they are read.

    Raises:
        ConfigError: The selection does not fit the source.
        DataError: It cannot be read.
    """
    check_color(settings.color)
    names = [source] if isinstance(source, NAMED) else source
    if isinstance(names, list | tuple) and names and all(isinstance(name, NAMED) for name in names):
        for named in _find(names):
            yield _open(named, settings)
        return
    if settings.selection != Selection():
        msg = (
            "images in memory are not selected; leave out stride, start, end and max_frames, or"
            " name files"
        )
        raise ConfigError(msg)
    yield Input(source=ItemSource(_items(source), settings.color))


def _find(names: Sequence[str | Path | int]) -> list[NamedSource]:
    """Return the sources that names stand for; a whole number is a camera's."""
    texts = [str(name) for name in names if not isinstance(name, int)]
    return find_sources(texts, cameras=[name for name in names if isinstance(name, int)])


def _open(named: NamedSource, settings: Settings) -> Input:
    if _is_image_address(named):
        return Input(source=ItemSource([named.text], settings.color))
    stop = Event()
    opened = open_named(
        named,
        selection=settings.selection,
        raw=settings.raw,
        pipe=sys.stdin.buffer,
        should_stop=stop.is_set,
        decoder=settings.decoder,
    )
    return Input(source=opened.source, stop=stop, opened=opened, name=named.text)


def _is_image_address(named: NamedSource) -> bool:
    """Return whether a source is an image at an address of HTTP, by its name."""
    parts = urlsplit(named.text if named.kind is SourceKind.ADDRESS else "")
    return parts.scheme.lower() in FETCHED and Path(parts.path).suffix.lower() in EXTENSIONS


def _items(source: Any) -> Iterable[Any]:  # noqa: ANN401 - of any kind
    """Return the images of a list or an iterator; any other value is the only one."""
    is_single = hasattr(source, "ndim") or isinstance(source, bytes | bytearray | memoryview)
    return [source] if is_single or not isinstance(source, Iterable) else source
