"""Output files of a run: which kinds are written, their paths, and what writes them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segdeploy.errors import ConfigError
from segdeploy.imaging.io import image_names, write_image, write_indexed
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
    Renderer,
)
from segdeploy.system.files import PART, write_text
from segdeploy.system.machine import cores
from segdeploy.video.annotations import NameOf, coco_file, geojson, json_lines
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import FrameWriter, Outputs, SegmentedFrame, VideoInfo

if TYPE_CHECKING:
    from segdeploy.video.writer import VideoSink


EXTENSIONS = {
    OVERLAY: ".jpg",
    SIDE: ".jpg",
    MASK: ".png",
    COLOR: ".png",
    CONFIDENCE: ".png",
    CUTOUT: ".png",
    GEOJSON: ".geojson",
}
"""Kinds with one file per frame where they are not a video, and their extensions."""

RECORDS = {JSONL: "frames.jsonl", COCO: "coco.json", RLE: "rle.json"}
"""Kinds with one file for all frames, and its name, or the end of it."""


def video_paths(info: VideoInfo, folder: Path, *, renderer: Renderer) -> dict[str, Path]:
    """Return the file or folder of each kind that is written of a video."""
    ends = {
        kind: f"{kind}.mp4" if kind in renderer.video_kinds else RECORDS.get(kind, kind)
        for kind in renderer.kinds
    }
    return {kind: folder / f"{info.name}-{end}" for kind, end in ends.items()}


def video_parts(info: VideoInfo, folder: Path, *, renderer: Renderer) -> list[Path]:
    """Return the videos that are written of a video as they are called while they grow."""
    paths = video_paths(info, folder, renderer=renderer)
    return [
        path.with_name(path.name + PART)
        for kind, path in paths.items()
        if kind in renderer.video_kinds
    ]


@contextmanager
def video_outputs(
    info: VideoInfo,
    folder: Path,
    *,
    renderer: Renderer,
    encoding: Encoding,
    resumed: int = 0,
    overwrite: bool = True,
) -> Iterator[Outputs]:
    """Open the outputs of a video.

    Videos are `STEM-overlay.mp4` with the source's audio, images `STEM-mask/000000.png`, and
    records `STEM-coco.json`.

    Args:
        info: The video that is segmented.
        folder: Where the results are written.
        renderer: The kinds of results.
        encoding: Codec and quality of videos.
        resumed: How many frames of an interrupted run are kept, as `count_resumable` returned it.
        overwrite: Whether videos that exist, finished or in progress, may be replaced.

    Raises:
        ConfigError: A video exists, and none may be replaced; or another run is writing one.
    """
    paths = video_paths(info, folder, renderer=renderer)
    for kind, path in paths.items():
        if kind in renderer.video_kinds and path.exists() and not overwrite:
            msg = f"{path} exists; choose another --output, or replace it with --overwrite"
            raise ConfigError(msg)
    writers: dict[Path, FrameWriter] = {}
    with ExitStack() as stack:
        for kind, path in paths.items():
            if kind in renderer.video_kinds:
                sink = _open_sink(
                    info,
                    path,
                    is_wide=kind == SIDE,
                    encoding=encoding,
                    resumed=resumed,
                    overwrite=overwrite,
                )
                writers[path] = to_video(kind, stack.enter_context(sink))
            elif kind in RECORDS:
                writers[path] = stack.enter_context(
                    open_record(kind, path, renderer, lambda index: f"{index:06d}")
                )
            else:
                writers[path] = to_files(
                    kind, renderer, partial(frame_path, path, EXTENSIONS[kind])
                )
        yield Outputs(writers=tuple(writers.values()), paths=tuple(writers))


def _open_sink(
    info: VideoInfo, path: Path, *, is_wide: bool, encoding: Encoding, resumed: int, overwrite: bool
) -> "VideoSink":
    """Open a video as long as the source and of its size, or twice as wide."""
    from segdeploy.video.writer import VideoSink

    return VideoSink(
        path,
        width=info.width * (1 + is_wide),
        height=info.height,
        rate=info.rate,
        aspect=info.aspect,
        audio=info.audio,
        start=info.selection.start,
        end=info.selection.end,
        encoding=encoding,
        threads=cores(),
        frames=None if info.frames is None else info.frames + resumed,
        resumed=resumed,
        overwrite=overwrite,
    )


def image_paths(
    paths: Sequence[Path], folder: Path, *, renderer: Renderer
) -> dict[str, list[Path]]:
    """Return the files of each kind that has one for each image, by the images' index."""
    names = unique_names(paths)
    return {
        kind: [folder / kind / f"{name}{EXTENSIONS[kind]}" for name in names]
        for kind in renderer.kinds
        if kind in EXTENSIONS
    }


@contextmanager
def image_outputs(paths: Sequence[Path], folder: Path, *, renderer: Renderer) -> Iterator[Outputs]:
    """Open the outputs of images: `overlay/STEM.jpg`, `mask/STEM.png`, `coco.json` and so on.

    Args:
        paths: The images that are segmented, by their frames' index.
        folder: Where the results are written.
        renderer: The kinds of results.

    Raises:
        ConfigError: A result would overwrite one of the images.
    """
    targets = image_paths(paths, folder, renderer=renderer)
    inputs = {path.resolve() for path in paths}
    for target in (target for files in targets.values() for target in files):
        if target.resolve() in inputs:
            msg = f"the result {target} would overwrite an image; choose another --output"
            raise ConfigError(msg)
    names = image_names(paths)
    writers: dict[Path, FrameWriter] = {}
    with ExitStack() as stack:
        for kind in renderer.kinds:
            if kind in RECORDS:
                path = folder / RECORDS[kind]
                writers[path] = stack.enter_context(
                    open_record(kind, path, renderer, names.__getitem__)
                )
            else:
                writers[folder / kind] = to_files(kind, renderer, targets[kind].__getitem__)
        yield Outputs(writers=tuple(writers.values()), paths=tuple(writers))


def open_record(
    kind: str, path: Path, renderer: Renderer, name_of: NameOf
) -> AbstractContextManager[FrameWriter]:
    """Open one of `RECORDS`; yield the function that appends a frame."""
    if kind == JSONL:
        return json_lines(path, renderer.classes, name_of)
    return coco_file(path, renderer.classes, name_of, as_rle=kind == RLE)


def frame_path(folder: Path, ending: str, index: int) -> Path:
    """Return the file of a frame by its index."""
    return folder / f"{index:06d}{ending}"


def to_files(kind: str, renderer: Renderer, path_of: Callable[[int], Path]) -> FrameWriter:
    """Return a function that writes one kind of result to the file of the frame's index."""

    def write(result: SegmentedFrame) -> None:
        path = path_of(result.frame.index)
        if kind == MASK:
            write_image(path, result.mask)
        elif kind == COLOR:
            write_indexed(path, result.mask, [entry.color for entry in renderer.classes])
        elif kind == CONFIDENCE:
            assert result.confidence is not None
            write_image(path, result.confidence)
        elif kind == GEOJSON:
            write_text(path, geojson(result.mask, renderer.classes))
        else:
            write_image(path, result.drawn[kind])

    return write


def to_video(kind: str, sink: "VideoSink") -> FrameWriter:
    """Return a function that writes one kind of drawn image into a video."""

    def write(result: SegmentedFrame) -> None:
        frame = result.frame
        sink.write(result.drawn[kind], seconds=frame.seconds, duration=frame.duration)

    return write


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each image's results: its stem, with -2, -3 ... where it is taken.

    Case is ignored, since the file names of some systems ignore it.
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
