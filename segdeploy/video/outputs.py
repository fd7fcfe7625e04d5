"""Output files of a run: which kinds are written, their paths, and what writes them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from segdeploy.errors import ConfigError
from segdeploy.imaging.io import image_names, write_image, write_indexed
from segdeploy.imaging.overlay import (
    ANNOTATIONS,
    COCO,
    COLOR,
    CONFIDENCE,
    CUTOUT,
    CVAT,
    GEOJSON,
    JSONL,
    LABEL_STUDIO,
    MASK,
    OVERLAY,
    RLE,
    SIDE,
    VOC,
    YOLO,
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

RECORDS = {
    JSONL: "frames.jsonl",
    COCO: "coco.json",
    RLE: "rle.json",
    CVAT: "annotations.xml",
    LABEL_STUDIO: "label_studio.json",
    VOC: VOC,
    YOLO: YOLO,
}
"""Kinds with one file, or one folder of a layout, for all frames; its name, or the end of it."""

VIDEO = ".mp4"

IMAGE_ENDINGS = {OVERLAY: (".jpg", ".jpeg", ".png"), SIDE: (".jpg", ".jpeg", ".png")}
"""Extensions that an image of a kind may have where its file is named, if not that of
`EXTENSIONS`."""

RESULT_ENDINGS = frozenset(
    {VIDEO, *EXTENSIONS.values(), *(Path(name).suffix for name in RECORDS.values()), ".jpeg"} - {""}
)
"""Extensions of the files that are written."""

OTHER_ENDINGS = frozenset(
    {".avi", ".gif", ".m4v", ".mkv", ".mov", ".mpg", ".tif", ".tiff", ".webm"}
)
"""Extensions of files that people name, and that are not written."""


def is_file_name(path: Path) -> bool:
    """Return whether a path names one file for the results, and not a folder."""
    return path.suffix.lower() in RESULT_ENDINGS | OTHER_ENDINGS and not path.is_dir()


def check_file(file: Path, renderer: Renderer, *, source: Path | None, count: int | None) -> None:
    """Check that the results of a run are the one file that was named.

    Args:
        file: Where they go.
        renderer: What is saved.
        source: The file that is read, where it is one.
        count: Number of images; None for a video.

    Raises:
        ConfigError: They are several files, or of another kind, or would replace the source.
    """
    kind, *more = renderer.kinds
    if more or ((count or 1) != 1 and kind not in RECORDS):
        what = ",".join(renderer.kinds) if more else f"{count} images"
        msg = f"{file} is one file, and {what} are several; name a folder for --output"
        raise ConfigError(msg)
    if kind in RECORDS:
        suffix = Path(RECORDS[kind]).suffix
        endings: tuple[str, ...] = (suffix,) if suffix else ()
    elif count is None:
        endings = (VIDEO,) if kind in renderer.video_kinds else ()
    else:
        endings = IMAGE_ENDINGS.get(kind, (EXTENSIONS[kind],))
    if file.suffix.lower() not in endings:
        what = f"{kind} of {'a video' if count is None else 'an image'}"
        msg = (
            f"{file} cannot be written: the file of the {what} ends in {' or '.join(endings)}"
            if endings
            else f"{file} is one file, and the {what} is a folder of files; name a folder"
        )
        raise ConfigError(msg)
    if source is not None and file.resolve() == source.resolve():
        msg = f"{file} is the source itself; choose another --output"
        raise ConfigError(msg)


def video_paths(
    name: str, folder: Path, *, renderer: Renderer, file: Path | None = None
) -> dict[str, Path]:
    """Return the file or folder of each kind that is written of a video.

    Args:
        name: Name of the video.
        folder: Where the results are written.
        renderer: The kinds of results.
        file: The only one of them, where it was named and `check_file` accepts it.
    """
    if file is not None:
        return dict.fromkeys(renderer.kinds, file)
    ends = {
        kind: f"{kind}{VIDEO}" if kind in renderer.video_kinds else RECORDS.get(kind, kind)
        for kind in renderer.kinds
    }
    return {kind: folder / f"{name}-{end}" for kind, end in ends.items()}


def video_parts(
    name: str, folder: Path, *, renderer: Renderer, file: Path | None = None
) -> list[Path]:
    """Return the videos that are written of a video as they are called while they grow."""
    paths = video_paths(name, folder, renderer=renderer, file=file)
    return [
        path.with_name(path.name + PART)
        for kind, path in paths.items()
        if kind in renderer.video_kinds
    ]


def refuse_existing(paths: Mapping[str, Path], renderer: Renderer) -> None:
    """Raise a ConfigError where a video exists that a run would replace.

    Args:
        paths: What `video_paths` returned.
        renderer: The kinds of results.
    """
    for kind, path in paths.items():
        if kind in renderer.video_kinds and path.exists():
            msg = f"{path} exists; choose another --output, or replace it with --overwrite"
            raise ConfigError(msg)


@contextmanager
def video_outputs(
    info: VideoInfo,
    folder: Path,
    *,
    renderer: Renderer,
    encoding: Encoding,
    resumed: int = 0,
    overwrite: bool = True,
    file: Path | None = None,
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
        file: The only result, where it was named and `check_file` accepts it.

    Raises:
        ConfigError: A video exists, and none may be replaced; or another run is writing one.
    """
    paths = video_paths(info.name, folder, renderer=renderer, file=file)
    if not overwrite:
        refuse_existing(paths, renderer)
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
    paths: Sequence[Path], folder: Path, *, renderer: Renderer, file: Path | None = None
) -> dict[str, list[Path]]:
    """Return the files of each kind that has one for each image, by the images' index.

    Args:
        paths: The images that are segmented.
        folder: Where the results are written.
        renderer: The kinds of results.
        file: The only one of them, where it was named and `check_file` accepts it.
    """
    if file is not None:
        return {kind: [file] for kind in renderer.kinds if kind in EXTENSIONS}
    names = unique_names(paths)
    return {
        kind: [folder / kind / f"{name}{EXTENSIONS[kind]}" for name in names]
        for kind in renderer.kinds
        if kind in EXTENSIONS
    }


@contextmanager
def image_outputs(
    paths: Sequence[Path], folder: Path, *, renderer: Renderer, file: Path | None = None
) -> Iterator[Outputs]:
    """Open the outputs of images: `overlay/STEM.jpg`, `mask/STEM.png`, `coco.json` and so on.

    Args:
        paths: The images that are segmented, by their frames' index.
        folder: Where the results are written.
        renderer: The kinds of results.
        file: The only result, where it was named and `check_file` accepts it.

    Raises:
        ConfigError: A result would overwrite one of the images.
    """
    targets = image_paths(paths, folder, renderer=renderer, file=file)
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
                path = file or folder / RECORDS[kind]
                writers[path] = stack.enter_context(
                    open_record(kind, path, renderer, names.__getitem__)
                )
            else:
                writers[file or folder / kind] = to_files(kind, renderer, targets[kind].__getitem__)
        yield Outputs(writers=tuple(writers.values()), paths=tuple(writers))


def open_record(
    kind: str, path: Path, renderer: Renderer, name_of: NameOf
) -> AbstractContextManager[FrameWriter]:
    """Open one of `RECORDS`; yield the function that appends a frame."""
    if kind == JSONL:
        return json_lines(path, renderer.classes, name_of)
    if kind in ANNOTATIONS:
        # Few runs write them.
        from segdeploy.video.annotation_tools import open_annotations

        return open_annotations(kind, path, renderer.classes, name_of, min_area=renderer.min_area)
    return coco_file(
        path, renderer.classes, name_of, as_rle=kind == RLE, min_area=renderer.min_area
    )


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
            write_text(path, geojson(result.mask, renderer.classes, min_area=renderer.min_area))
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
