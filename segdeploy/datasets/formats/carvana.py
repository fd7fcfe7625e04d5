"""Carvana: cars before a plain background, 16 views of each (Kaggle's Carvana Image Masking Challenge, 2017)."""

from pathlib import Path

from segdeploy.card import LabelClass
from segdeploy.datasets.index import DatasetIndex, Pair, draw_split, find_files, match
from segdeploy.datasets.mask_formats import Binary
from segdeploy.datasets.registry import register_layout

CLASSES = (
    LabelClass(name="background", color=(0, 0, 0)),
    LabelClass(name="car", color=(0, 160, 255)),
)
MASKS = ("_mask.gif", "_mask.png", ".gif", ".png")
FOLDERS = (("train", "train_masks"), ("imgs", "masks"))
NEEDS = (
    "the layout is train/CAR_VIEW.jpg and train_masks/CAR_VIEW_mask.gif, or imgs/ and masks/,"
    " inside the folder named by --data"
)


class Carvana:
    """Images and black-and-white masks; a fifth of the cars is val, with all of their views."""

    name = "carvana"
    splits = ("train", "val")

    def survey(self, data: Path, split: str) -> DatasetIndex:
        """Find a split in Kaggle's folders or the usual pair of them."""
        images, masks = next((pair for pair in FOLDERS if (data / pair[1]).is_dir()), FOLDERS[0])
        pairs, lonely = match(
            find_files(data / images, needs=NEEDS), find_files(data / masks, MASKS, needs=NEEDS)
        )
        kept, rule = draw_split(pairs, split, group=_car, of="cars")
        return DatasetIndex(classes=CLASSES, pairs=kept, lonely=lonely, truth=Binary(), rule=rule)


def _car(pair: Pair) -> str:
    """Return the part of a name that tells the car and not the view."""
    return pair.name.partition("_")[0]


register_layout(Carvana())
