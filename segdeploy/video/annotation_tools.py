"""Masks in the formats of annotation tools, to be corrected there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath

from segdeploy.card import LabelClass
from segdeploy.datasets.formats import cvat, label_studio, voc, yolo
from segdeploy.imaging.io import write_indexed
from segdeploy.imaging.overlay import CVAT, LABEL_STUDIO, VOC
from segdeploy.system.files import make_folder, write_text
from segdeploy.video.annotations import NameOf, incremental_file
from segdeploy.video.frames import FrameWriter, SegmentedFrame


def open_annotations(
    kind: str, path: Path, classes: Sequence[LabelClass], name_of: NameOf, *, min_area: int
) -> AbstractContextManager[FrameWriter]:
    """Open a file or a folder of annotations; yield the function that adds a frame.

    Args:
        kind: One of `ANNOTATIONS`.
        path: The file of CVAT and Label Studio, the folder of VOC and YOLO.
        classes: Classes in the order of the masks' indices.
        name_of: Returns the name of a frame's image.
        min_area: Regions of fewer pixels are left out, of YOLO's polygons.
    """
    if kind == CVAT:
        return _cvat_file(path, classes, name_of)
    if kind == LABEL_STUDIO:
        return _label_studio_file(path, classes, name_of)
    if kind == VOC:
        return _voc_folder(path, classes, name_of)
    return _yolo_folder(path, classes, name_of, min_area=min_area)


@contextmanager
def _cvat_file(path: Path, classes: Sequence[LabelClass], name_of: NameOf) -> Iterator[FrameWriter]:
    """Write the XML of CVAT for images 1.1."""
    with _framed(path, cvat.header(classes), cvat.FOOTER) as write:

        def add(result: SegmentedFrame) -> None:
            index = result.frame.index
            write(cvat.image_element(result.mask, classes, name=name_of(index), number=index))

        yield add


@contextmanager
def _label_studio_file(
    path: Path, classes: Sequence[LabelClass], name_of: NameOf
) -> Iterator[FrameWriter]:
    """Write the JSON of Label Studio's tasks with predictions."""
    separator = ""
    with _framed(path, "[\n", "\n]\n") as write:

        def add(result: SegmentedFrame) -> None:
            nonlocal separator
            task = label_studio.task(result.mask, classes, name=name_of(result.frame.index))
            write(separator + task)
            separator = ",\n"

        yield add


@contextmanager
def _framed(path: Path, header: str, footer: str) -> Iterator[Callable[[str], None]]:
    """Write a text file piece by piece between a header and a footer; none where nothing comes."""
    begun = False
    with incremental_file(path) as append:

        def write(text: str) -> None:
            nonlocal begun
            append(text if begun else header + text)
            begun = True

        try:
            yield write
        finally:
            if begun:
                append(footer)


@contextmanager
def _voc_folder(
    folder: Path, classes: Sequence[LabelClass], name_of: NameOf
) -> Iterator[FrameWriter]:
    """Write colored masks, the labels, and the list of names, as Segmentation mask 1.1."""
    make_folder(folder)
    colors = voc.mask_colors(classes)
    write_text(folder / voc.LABELS, voc.labels_text(classes))
    with incremental_file(folder / voc.LISTS / "default.txt") as write:

        def add(result: SegmentedFrame) -> None:
            name = _stem(name_of(result.frame.index))
            write_indexed(folder / voc.MASKS / f"{name}.png", result.mask, colors)
            write(f"{name}\n")

        yield add


@contextmanager
def _yolo_folder(
    folder: Path, classes: Sequence[LabelClass], name_of: NameOf, *, min_area: int
) -> Iterator[FrameWriter]:
    """Write a text file of polygons for each frame, and the names of the classes."""
    make_folder(folder)
    write_text(folder / yolo.CONFIG, yolo.config(classes))

    def add(result: SegmentedFrame) -> None:
        text = "".join(yolo.lines(result.mask, classes, min_area=min_area))
        write_text(folder / "labels" / "train" / f"{_stem(name_of(result.frame.index))}.txt", text)

    yield add


def _stem(name: str) -> str:
    """Return a name without its ending, and without what leads out of a folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in path.with_suffix("").parts if part not in {"/", ".."}]
    return "_".join(parts)
