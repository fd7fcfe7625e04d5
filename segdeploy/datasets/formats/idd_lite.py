"""IDD-Lite: streets in India at 320x227 (Mishra et al., CVPR Workshops 2019).

A small part of the India Driving Dataset (Varma et al., WACV 2019), 7 classes.

On disk: leftImg8bit/SPLIT/SEQUENCE/NAME_image.jpg and gtFine/SPLIT/SEQUENCE/NAME_label.png, gray
ids 0 to 6 and 255 for what is not labeled; the test split has no masks.

License: for research, after registration (https://idd.insaan.iiit.ac.in).
"""

from pathlib import Path

from segdeploy.card import LabelClass
from segdeploy.datasets.index import DatasetIndex, find_below, match, without_mask
from segdeploy.datasets.mask_formats import Ids, id_table
from segdeploy.datasets.registry import register_layout

CLASSES = (
    LabelClass(name="drivable", color=(128, 64, 128)),
    LabelClass(name="non-drivable", color=(244, 35, 232)),
    LabelClass(name="living things", color=(220, 20, 60)),
    LabelClass(name="vehicles", color=(0, 0, 142)),
    LabelClass(name="roadside objects", color=(220, 190, 40)),
    LabelClass(name="far objects", color=(70, 70, 70)),
    LabelClass(name="sky", color=(70, 130, 180)),
)
MASK_FORMAT = Ids(table=id_table({index: index for index in range(len(CLASSES))}))
NEEDS = (
    "the layout is leftImg8bit/SPLIT/SEQUENCE/NAME_image.jpg and"
    " gtFine/SPLIT/SEQUENCE/NAME_label.png, with SPLIT train, val or test, inside the folder named"
    " by --data"
)


class IddLite:
    """IDD-Lite's folders, one for each sequence."""

    name = "idd_lite"
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find the images of a split, and the masks where there are some."""
        images = find_below(data / "leftImg8bit" / split, ("_image.jpg", "_image.png"), needs=NEEDS)
        labels = data / "gtFine" / split
        if split == "test" and not labels.is_dir():
            return DatasetIndex(
                classes=CLASSES, pairs=without_mask(images), unpaired=(), mask_format=MASK_FORMAT
            )
        masks = find_below(labels, ("_label.png",), needs=NEEDS)
        # NAME_inst_label.png numbers the instances and holds no classes.
        pairs, unpaired = match(
            images, {key: path for key, path in masks.items() if not key.endswith("_inst")}
        )
        return DatasetIndex(
            classes=CLASSES, pairs=pairs, unpaired=unpaired, mask_format=MASK_FORMAT
        )


register_layout(IddLite())
