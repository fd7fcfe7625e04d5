"""Kinds of the sources that a user names: images, videos, a pipe, addresses and cameras."""

import glob
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from segdeploy.errors import DataError, MissingFileError
from segdeploy.imaging.header import begins_as_image
from segdeploy.imaging.io import EXTENSIONS
from segdeploy.system.files import exists

VIDEO_EXTENSIONS = frozenset(
    {
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".dv",
        ".flv",
        ".h264",
        ".h265",
        ".hevc",
        ".m2ts",
        ".m4v",
        ".mjpeg",
        ".mjpg",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".nut",
        ".ogg",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".y4m",
    }
)
"""File name extensions by which a video is found in a folder."""

LIST = ".txt"
PIPE = "-"
WAITING = ("http", "https", "file")
"""Schemes of addresses that may be a file, of which every frame is read; all others are live."""

PATTERN = re.compile(r"[*?\[]")
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class SourceKind(Enum):
    """What a source is, in the order in which several are processed."""

    IMAGES = "images"
    VIDEO = "video"
    PIPE = "pipe"
    ADDRESS = "address"
    CAMERA = "camera"


@dataclass(frozen=True, kw_only=True)
class NamedSource:
    """A source that a user named, before it is opened.

    Attributes:
        kind: What it is.
        text: The path of a video, an address, a camera's number, or "-".
        paths: Files of the images.
    """

    kind: SourceKind
    text: str = ""
    paths: tuple[Path, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether it surely has no end."""
        address = ADDRESS.match(self.text)
        return self.kind is SourceKind.CAMERA or (
            self.kind is SourceKind.ADDRESS
            and address is not None
            and address[1].lower() not in WAITING
        )

    def __str__(self) -> str:
        return self.text or f"{len(self.paths)} image{'' if len(self.paths) == 1 else 's'}"


@dataclass
class _Found:
    """What was found so far, each file once."""

    images: dict[Path, None] = field(default_factory=dict)
    others: dict[tuple[SourceKind, str], None] = field(default_factory=dict)


def find_sources(
    texts: Sequence[str],
    *,
    images: Sequence[Path] = (),
    videos: Sequence[Path] = (),
    cameras: Sequence[int] = (),
    recursive: bool = False,
) -> list[NamedSource]:
    """Return the sources that texts name: all images as one, then each of the others.

    Args:
        texts: "-" for standard input, addresses, numbers of cameras, folders, patterns, lists of
            any of these (.txt), images and videos.
        images: Images, folders and patterns, of which only images are taken.
        videos: Videos, whatever their names end in.
        cameras: Numbers of cameras.
        recursive: Whether folders below folders are entered.

    Raises:
        DataError: There is no such file, or a folder or a pattern has nothing that can be read.
    """
    found = _Found()
    for path in images:
        for match in _matches(path, EXTENSIONS):
            found.images |= dict.fromkeys(_files_of(match, EXTENSIONS, recursive=recursive))
    for path in videos:
        if len(videos) > 1 and not exists(path):
            raise _missing(path, VIDEO_EXTENSIONS)
        found.others[SourceKind.VIDEO, str(path)] = None
    for number in cameras:
        found.others[SourceKind.CAMERA, str(number)] = None
    for text in texts:
        _find(text, found, recursive=recursive)
    order = list(SourceKind)
    others = [
        NamedSource(kind=kind, text=text)
        for kind, text in sorted(found.others, key=lambda other: order.index(other[0]))
    ]
    paths = tuple(found.images)
    return [NamedSource(kind=SourceKind.IMAGES, paths=paths), *others] if paths else others


def _find(text: str, found: _Found, *, recursive: bool) -> None:
    """Add the sources that one text names."""
    path = Path(text)
    if text == PIPE:
        found.others[SourceKind.PIPE, text] = None
    elif ADDRESS.match(text):
        found.others[SourceKind.ADDRESS, text] = None
    elif text.isdecimal() and not exists(path):
        found.others[SourceKind.CAMERA, str(int(text))] = None
    elif path.suffix.lower() == LIST and (exists(path) or not PATTERN.search(text)):
        for line in _read_list(path):
            _find(line, found, recursive=recursive)
    else:
        known = EXTENSIONS | VIDEO_EXTENSIONS
        for match in _matches(path, known):
            for file in _files_of(match, known, recursive=recursive):
                if is_image(file):
                    found.images[file] = None
                else:
                    found.others[SourceKind.VIDEO, str(file)] = None


def is_image(path: Path) -> bool:
    """Return whether a file is an image, by its name, or by how it begins where that says nothing.

    Only regular files are opened: what a pipe holds can be read only once.
    """
    extension = path.suffix.lower()
    if extension in EXTENSIONS or extension in VIDEO_EXTENSIONS:
        return extension in EXTENSIONS
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return begins_as_image(file.read(16))


def _matches(path: Path, extensions: Collection[str]) -> list[Path]:
    """Return the files that match a pattern, sorted by name.

    A path that exists is not a pattern, whatever characters it has.
    """
    if exists(path) or not PATTERN.search(str(path)):
        return [path]
    # Path.glob takes no absolute pattern.
    names = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
    matches = [Path(name) for name in names]
    if not matches:
        msg = f"no file matches {path}; check the pattern"
        raise DataError(msg)
    return [match for match in matches if match.suffix.lower() in extensions] or matches


def _files_of(path: Path, extensions: Collection[str], *, recursive: bool) -> list[Path]:
    """Return a file, or the files of a folder with one of the extensions, sorted.

    Raises:
        DataError: There is no such file, or no file in the folder.
    """
    if not exists(path):
        raise _missing(path, extensions)
    if not path.is_dir():
        return [path]
    files = sorted(
        file
        for file in (_files_below(path) if recursive else path.iterdir())
        if file.suffix.lower() in extensions and file.is_file() and not file.name.startswith(".")
    )
    if not files:
        what = "image" if extensions is EXTENSIONS else "image or video"
        below = "" if recursive else "; --recursive also searches the folders below it"
        msg = f"no {what} lies in {path}{below}; known extensions are {_listed(extensions)}"
        raise DataError(msg)
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    """Return every file below a folder; hidden folders and links to folders are not entered."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent) / name for name in names)


def _missing(path: Path, extensions: Collection[str]) -> MissingFileError:
    """Return the error about a path that does not exist."""
    extension = path.suffix.lower()
    if extensions is EXTENSIONS or extension in EXTENSIONS:
        return MissingFileError(f"there is no {path}; name an image or a folder of images")
    if extensions is VIDEO_EXTENSIONS or extension in VIDEO_EXTENSIONS:
        return MissingFileError(f"there is no video {path}; check the name")
    return MissingFileError(
        f"there is no {path}; name images, videos, folders, patterns such as 'day/*.jpg', lists"
        f" ({LIST}), addresses (rtsp://...), a camera's number, or {PIPE} for standard input"
    )


def _listed(extensions: Collection[str]) -> str:
    return ", ".join(sorted(extensions))


def _read_list(path: Path) -> list[str]:
    """Return the sources of a list, one per line; paths are relative to the list's own folder."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as a list of paths ({error}); write one path per line"
        raise DataError(msg) from error
    texts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not texts:
        msg = f"{path} lists nothing; write one path per line"
        raise DataError(msg)
    if lists := [text for text in texts if text == PIPE or text.lower().endswith(LIST)]:
        msg = f"{path} lists {lists[0]}; name images, videos, folders, addresses and cameras only"
        raise DataError(msg)
    return [_from_list(path.parent, text) for text in texts]


def _from_list(folder: Path, text: str) -> str:
    """Return what a line names; a number that is no file is a camera."""
    is_path = not ADDRESS.match(text) and (not text.isdecimal() or (folder / text).exists())
    return str(folder / text) if is_path else text
