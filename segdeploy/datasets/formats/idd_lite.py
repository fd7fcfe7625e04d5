"""IDD-Lite: streets in India at 320x227, 7 classes (Mishra et al., CVPR Workshops 2019)."""

from pathlib import Path

from segdeploy.card import LabelClass
from segdeploy.datasets.index import DatasetIndex, find_below, match, without_truth
from segdeploy.datasets.mask_formats import Ids, table
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
NEEDS = (
    "the layout is leftImg8bit/SPLIT/SEQUENCE/NAME_image.jpg and"
    " gtFine/SPLIT/SEQUENCE/NAME_label.png, with SPLIT train, val or test, inside the folder named"
    " by --data"
)


class IddLite:
    """Images and ids in a folder for each sequence; test has no truth."""

    name = "idd_lite"
    splits = ("train", "val", "test")

    def survey(self, data: Path, split: str) -> DatasetIndex:
        """Find a split's folder of images, and of ids where there is one."""
        images = find_below(data / "leftImg8bit" / split, ("_image.jpg", "_image.png"), needs=NEEDS)
        truth = Ids(table=table({index: index for index in range(len(CLASSES))}))
        labels = data / "gtFine" / split
        if split == "test" and not labels.is_dir():
            return DatasetIndex(
                classes=CLASSES, pairs=without_truth(images), lonely=(), truth=truth
            )
        masks = find_below(labels, ("_label.png",), needs=NEEDS)
        # NAME_inst_label.png numbers the single things and is no truth of classes.
        pairs, lonely = match(
            images, {key: path for key, path in masks.items() if not key.endswith("_inst")}
        )
        return DatasetIndex(classes=CLASSES, pairs=pairs, lonely=lonely, truth=truth)


register_layout(IddLite())
