"""Cityscapes: streets of 50 cities at 2048x1024 (Cordts et al., CVPR 2016).

2,975 images to train and 500 to validate with fine masks, 1,525 to test without; 34 ids, of which
19 classes are trained.

On disk, one of three layouts: the official leftImg8bit/ and gtFine/ with _gtFine_labelIds.png or
_labelTrainIds.png; SPLIT/img/ and SPLIT/label/ in colors, as one copy on Kaggle has it; or
SPLIT/NAME.jpg with image and colors side by side, as another has it.

License: the dataset's own, for non-commercial use, after registration
(https://www.cityscapes-dataset.com); it must not be passed on.
"""

from pathlib import Path

import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.index import DatasetIndex, find_below, find_files, match, without_mask
from segdeploy.datasets.mask_formats import Colors, Ids, RightHalf, id_table, read_left_half
from segdeploy.datasets.registry import register_layout
from segdeploy.errors import LayoutNotFoundError
from segdeploy.imaging.palettes import Color

# Name, original id and color of the 19 classes, in the order of their train ids; from
# cityscapesscripts' labels.py.
_CLASSES: tuple[tuple[str, int, Color], ...] = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
# Unlabeled, dynamic, ground, parking, rail track, guard rail, bridge, tunnel, caravan, trailer.
_VOID: tuple[Color, ...] = (
    (0, 0, 0),
    (111, 74, 0),
    (81, 0, 81),
    (250, 170, 160),
    (230, 150, 140),
    (180, 165, 180),
    (150, 100, 100),
    (150, 120, 90),
    (0, 0, 90),
    (0, 0, 110),
)
CLASSES = tuple(LabelClass(name=name, color=color) for name, _, color in _CLASSES)
ORIGINAL = tuple(original for _, original, _ in _CLASSES)
"""Original id of each class."""

LABEL_IDS = Ids(
    table=id_table(
        {original: index for index, original in enumerate(ORIGINAL)},
        ignored=set(range(34)) | {IGNORE_INDEX},
    )
)
TRAIN_IDS = Ids(table=id_table({index: index for index in range(len(CLASSES))}))
REACH = 48
"""Distance from a class's color up to which a pixel is assigned to it: JPEG at the quality of
Kaggle's pairs moves a flat color by less; mixtures at the edges of objects lie farther."""

COLORS = Colors(
    table=tuple((color, index) for index, (_, _, color) in enumerate(_CLASSES))
    + tuple((color, IGNORE_INDEX) for color in _VOID),
    reach=REACH,
)
NEEDS = (
    "the layout is leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png and"
    " gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png (or labelTrainIds), SPLIT/img/ and SPLIT/label/"
    " (in colors), or SPLIT/NAME.jpg with image and colors side by side, inside the folder named"
    " by --data"
)


class Cityscapes:
    """Images and masks in any of three layouts; the official test split has no masks."""

    name = "cityscapes"
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find a split in whichever layout the folder has."""
        if (data / "leftImg8bit").is_dir():
            return _index_official(data, split)
        if (data / split / "img").is_dir():
            images, masks = (
                find_files(data / split / side, needs=NEEDS) for side in ("img", "label")
            )
            pairs, unpaired = match(images, masks)
            return DatasetIndex(classes=CLASSES, pairs=pairs, unpaired=unpaired, mask_format=COLORS)
        both = find_files(data / split, (".jpg", ".jpeg", ".png"), needs=NEEDS)
        pairs, unpaired = match(both, both)
        return DatasetIndex(
            classes=CLASSES,
            pairs=pairs,
            unpaired=unpaired,
            mask_format=RightHalf(colors=COLORS),
            read=read_left_half,
        )


def _index_official(data: Path, split: str) -> DatasetIndex:
    """Find a split in the official folders."""
    images = _by_frame(find_below(data / "leftImg8bit" / split, ("_leftimg8bit.png",), needs=NEEDS))
    if split == "test":
        # The files in gtFine/test are placeholders.
        return DatasetIndex(
            classes=CLASSES, pairs=without_mask(images), unpaired=(), mask_format=LABEL_IDS
        )
    labels = data / "gtFine" / split
    try:
        masks, ids = find_below(labels, ("_gtfine_labelids.png",), needs=NEEDS), LABEL_IDS
    except LayoutNotFoundError:
        masks, ids = find_below(labels, ("_gtfine_labeltrainids.png",), needs=NEEDS), TRAIN_IDS
    pairs, unpaired = match(images, _by_frame(masks))
    return DatasetIndex(classes=CLASSES, pairs=pairs, unpaired=unpaired, mask_format=ids)


def _by_frame(files: dict[str, Path]) -> dict[str, Path]:
    """Return the files without the folder in their keys: names of frames begin with their city."""
    return {key.partition("/")[2]: path for key, path in files.items()}


def to_original_ids(mask: Mask) -> Mask:
    """Return the ids that Cityscapes' evaluation server reads; 255 becomes 0, unlabeled.

    Args:
        mask: (H, W) uint8 indices of the 19 classes, 255 = not labeled.
    """
    ids = np.zeros(256, np.uint8)
    ids[: len(ORIGINAL)] = ORIGINAL
    return ids[mask]


register_layout(Cityscapes())
