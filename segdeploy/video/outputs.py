"""What is kept of segmented frames, and where."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segdeploy.errors import ConfigError
from segdeploy.imaging.io import write_image, write_indexed
from segdeploy.imaging.overlay import (
    COCO,
    COLOR,
    CONFIDENCE,
    CUTOUT,
    GEOJSON,
    JSONL,
    MASK,
    OVERLAY,
    RLE,
    SIDE,
    Drawing,
)
from segdeploy.system.files import write_text
from segdeploy.system.machine import cores
from segdeploy.video.annotations import Name, coco_file, geojson, json_lines
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import Outputs, Segmented, VideoInfo, Write

if TYPE_CHECKING:
    from segdeploy.video.writer import VideoSink


ENDINGS = {
    OVERLAY: ".jpg",
    SIDE: ".jpg",
    MASK: ".png",
    COLOR: ".png",
    CONFIDENCE: ".png",
    CUTOUT: ".png",
    GEOJSON: ".geojson",
}
"""What has a file for each frame where it is no film, and how its name ends."""

RECORDS = {JSONL: "frames.jsonl", COCO: "coco.json", RLE: "rle.json"}
"""What is one file, whatever the source, and its name, or the end of it."""


def video_paths(source: VideoInfo, folder: Path, *, drawing: Drawing) -> dict[str, Path]:
    """Name the file or the folder of each kind that is kept of a film."""
    ends = {
        kind: f"{kind}.mp4" if kind in drawing.films else RECORDS.get(kind, kind)
        for kind in drawing.kinds
    }
    return {kind: folder / f"{source.name}-{end}" for kind, end in ends.items()}


def image_paths(paths: Sequence[Path], folder: Path, *, drawing: Drawing) -> dict[str, list[Path]]:
    """Name the files of each kind that has one for each image, by the images' index."""
    names = unique_names(paths)
    return {
        kind: [folder / kind / f"{name}{ENDINGS[kind]}" for name in names]
        for kind in drawing.kinds
        if kind in ENDINGS
    }


@contextmanager
def video_outputs(
    source: VideoInfo, folder: Path, *, drawing: Drawing, encoding: Encoding, kept: int = 0
) -> Iterator[Outputs]:
    """Keep films as `STEM-overlay.mp4` with the source's sound, images as `STEM-mask/000000.png`, and records as `STEM-coco.json`.

    Args:
        source: The film that is segmented.
        folder: Where the results go.
        drawing: What is kept.
        encoding: How films are compressed.
        kept: How many frames an interrupted run kept, as `count_kept` gave it.
    """
    writers: dict[Path, Write] = {}
    with ExitStack() as stack:
        for kind, path in video_paths(source, folder, drawing=drawing).items():
            if kind in drawing.films:
                film = _film(source, path, wide=kind == SIDE, encoding=encoding, kept=kept)
                writers[path] = to_film(kind, stack.enter_context(film))
            elif kind in RECORDS:
                writers[path] = stack.enter_context(
                    record(kind, path, drawing, lambda index: f"{index:06d}")
                )
            else:
                writers[path] = to_files(kind, drawing, partial(numbered, path, ENDINGS[kind]))
        yield Outputs(writers=tuple(writers.values()), paths=tuple(writers))


@contextmanager
def image_outputs(paths: Sequence[Path], folder: Path, *, drawing: Drawing) -> Iterator[Outputs]:
    """Keep overlays as `overlay/STEM.jpg`, masks as `mask/STEM.png` and so on, and records as `coco.json`.

    Args:
        paths: The images that are segmented, by their frames' index.
        folder: Where the results go.
        drawing: What is kept.

    Raises:
        ConfigError: A result would take the place of one of the images.
    """
    targets = image_paths(paths, folder, drawing=drawing)
    given = {path.resolve() for path in paths}
    for target in (target for some in targets.values() for target in some):
        if target.resolve() in given:
            msg = f"the result {target} would take the place of an image; choose another --output"
            raise ConfigError(msg)
    writers: dict[Path, Write] = {}
    with ExitStack() as stack:
        for kind in drawing.kinds:
            if kind in RECORDS:
                path = folder / RECORDS[kind]
                writers[path] = stack.enter_context(
                    record(kind, path, drawing, lambda index: paths[index].name)
                )
            else:
                writers[folder / kind] = to_files(kind, drawing, targets[kind].__getitem__)
        yield Outputs(writers=tuple(writers.values()), paths=tuple(writers))


def record(kind: str, path: Path, drawing: Drawing, name: Name) -> AbstractContextManager[Write]:
    """Open one of `RECORDS`; the block is given what writes a result into it."""
    if kind == JSONL:
        return json_lines(path, drawing.classes, name)
    return coco_file(path, drawing.classes, name, runs=kind == RLE)


def numbered(folder: Path, ending: str, index: int) -> Path:
    """Name the file of a frame by its index."""
    return folder / f"{index:06d}{ending}"


def to_files(kind: str, drawing: Drawing, name: Callable[[int], Path]) -> Write:
    """Return a function that writes what is kept of a result to the file that `name` gives for the frame's index."""

    def write(result: Segmented) -> None:
        path = name(result.frame.index)
        if kind == MASK:
            write_image(path, result.mask)
        elif kind == COLOR:
            write_indexed(path, result.mask, [entry.color for entry in drawing.classes])
        elif kind == CONFIDENCE:
            assert result.confidence is not None
            write_image(path, result.confidence)
        elif kind == GEOJSON:
            write_text(path, geojson(result.mask, drawing.classes))
        else:
            write_image(path, result.drawn[kind])

    return write


def to_film(kind: str, sink: "VideoSink") -> Write:
    """Return a function that writes what is drawn of a result into a video."""

    def write(result: Segmented) -> None:
        sink.write(result.drawn[kind], seconds=result.frame.seconds)

    return write


def _film(
    source: VideoInfo, path: Path, *, wide: bool, encoding: Encoding, kept: int
) -> "VideoSink":
    """Open a film as long as the source and as large, or twice as wide."""
    from segdeploy.video.writer import VideoSink

    return VideoSink(
        path,
        width=source.width * (1 + wide),
        height=source.height,
        rate=source.rate,
        aspect=source.aspect,
        sound=source.sound,
        start=source.selection.start,
        end=source.selection.end,
        encoding=encoding,
        threads=cores(),
        kept=kept,
    )


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Name the results of images by their stems.

    Where two are alike, the later one gets -2, -3 ... behind it.

    Capital letters make no difference, since the file names of some systems know none.
    """
    stems = {path.stem.casefold() for path in paths}
    names: list[str] = []
    used: set[str] = set()
    for path in paths:
        name, number = path.stem, 1
        while name.casefold() in used or (number > 1 and name.casefold() in stems):
            number += 1
            name = f"{path.stem}-{number}"
        used.add(name.casefold())
        names.append(name)
    return names
