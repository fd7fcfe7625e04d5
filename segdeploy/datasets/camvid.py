"""CamVid's layout: grey id masks beside the pictures, as SegNet's tutorial spread it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdeploy.card import LabelClass
from segdeploy.datasets.registry import register
from segdeploy.datasets.sample import Sample
from segdeploy.errors import ConfigError, DataError
from segdeploy.pictures import read_ids, read_picture
from segdeploy.scores import IGNORED, Mask

CLASSES = (
    LabelClass(name="Sky", color=(128, 128, 128)),
    LabelClass(name="Building", color=(128, 0, 0)),
    LabelClass(name="Pole", color=(192, 192, 128)),
    LabelClass(name="Road", color=(128, 64, 128)),
    LabelClass(name="Pavement", color=(0, 0, 192)),
    LabelClass(name="Tree", color=(128, 128, 0)),
    LabelClass(name="SignSymbol", color=(192, 128, 128)),
    LabelClass(name="Fence", color=(64, 64, 128)),
    LabelClass(name="Car", color=(64, 0, 128)),
    LabelClass(name="Pedestrian", color=(64, 64, 0)),
    LabelClass(name="Bicyclist", color=(0, 128, 192)),
)
VOID = len(CLASSES)
"""Id of a pixel that is not labelled, in the files; it becomes 255."""

SPLITS = ("train", "val")
SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, kw_only=True)
class CamVid:
    """One split: the pictures in `<split>`, their ids in `<split>annot`, paired by name.

    Attributes:
        pictures: Path of each picture, sorted by name.
        masks: Path of each picture's ids, in the same order.
    """

    pictures: tuple[Path, ...]
    masks: tuple[Path, ...]

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """CamVid's 11 classes."""
        return CLASSES

    @property
    def names(self) -> Sequence[str]:
        """Name of each picture, without folder and ending."""
        return [path.stem for path in self.pictures]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Sample:
        """Read one picture and its ids; void becomes 255.

        Raises:
            DataError: A file cannot be read, the sizes differ, or an id is no class.
        """
        image = read_picture(self.pictures[index])
        ids = read_ids(self.masks[index])
        if ids.shape != image.shape[:2]:
            found, wanted = (f"{shape[1]}x{shape[0]}" for shape in (ids.shape, image.shape))
            msg = f"{self.masks[index]} is {found} but its picture is {wanted}; make both the same size"
            raise DataError(msg)
        return Sample(image=image, mask=_without_void(ids, self.masks[index]), name=self.pictures[index].stem)


def _without_void(ids: Mask, path: Path) -> Mask:
    largest = int(ids.max())
    if largest > VOID:
        msg = f"{path} holds the id {largest}; ids must be 0 to {VOID - 1}, or {VOID} for void"
        raise DataError(msg)
    return np.where(ids == VOID, np.uint8(IGNORED), ids)


@register("camvid")
def open_camvid(data: Path | None, split: str) -> CamVid:
    """Open a split of a folder that holds train, trainannot, val and valannot.

    Raises:
        ConfigError: No folder was named, or there is no such split.
        DataError: A folder, a picture or its counterpart is missing.
    """
    if data is None:
        msg = "the data set 'camvid' lies in a folder; name it with --data"
        raise ConfigError(msg)
    if split not in SPLITS:
        msg = f"the data set 'camvid' has no split {split!r}; choose one of {', '.join(SPLITS)}"
        raise ConfigError(msg)
    pictures = _by_stem(data / split)
    masks = _by_stem(data / f"{split}annot")
    for stem in sorted(pictures.keys() ^ masks.keys()):
        path, other = (pictures[stem], data / f"{split}annot") if stem in pictures else (masks[stem], data / split)
        msg = f"{path} has no counterpart named {stem} in {other}; add it or remove the file"
        raise DataError(msg)
    stems = sorted(pictures)
    return CamVid(pictures=tuple(pictures[stem] for stem in stems), masks=tuple(masks[stem] for stem in stems))


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        msg = f"there is no folder {folder}; the layout is train, trainannot, val, valannot inside the folder named by --data"
        raise DataError(msg)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in found:
            msg = f"{found[path.stem]} and {path} have one name; remove one of them"
            raise DataError(msg)
        found[path.stem] = path
    if not found:
        msg = f"there is no picture in {folder}; it must hold files that end in {', '.join(SUFFIXES)}"
        raise DataError(msg)
    return found
