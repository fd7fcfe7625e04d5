"""Carvana: cars in a studio, 16 views of each (Kaggle's Carvana Image Masking Challenge, 2017).

5,088 images of 318 cars with masks, two classes, background and car.

On disk: train/CAR_VIEW.jpg and train_masks/CAR_VIEW_mask.gif, or imgs/ and masks/, as copies have
them. Masks are black and white, 0 and 1 or 0 and 255. There is no validation split: a fifth of the
cars, with all of their views, becomes one.

License: the rules of the competition on Kaggle.
"""

from pathlib import Path

from segdeploy.card import LabelClass
from segdeploy.datasets.index import DatasetIndex, Pair, find_files, match
from segdeploy.datasets.mask_formats import Binary
from segdeploy.datasets.registry import register_layout
from segdeploy.datasets.split import draw_split

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
    """Carvana's folders; the random split keeps the views of a car together."""

    name = "carvana"
    draws_splits = True
    splits = ("train", "val")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find the images and masks of a split."""
        images, masks = next((sides for sides in FOLDERS if (data / sides[1]).is_dir()), FOLDERS[0])
        pairs, unpaired = match(
            find_files(data / images, needs=NEEDS), find_files(data / masks, MASKS, needs=NEEDS)
        )
        chosen, rule = draw_split(pairs, split, group=_car, of="cars")
        return DatasetIndex(
            classes=CLASSES, pairs=chosen, unpaired=unpaired, mask_format=Binary(), rule=rule
        )


def _car(pair: Pair) -> str:
    """Return the car of a pair, the part of its name before the view."""
    return pair.name.partition("_")[0]


register_layout(Carvana())
