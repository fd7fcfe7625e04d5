"""CARLA: drawn towns as the Lyft Udacity Challenge of 2018 spread them, with the 13 classes of CARLA 0.8."""

from pathlib import Path

from segdeploy.card import LabelClass
from segdeploy.datasets.index import HELD_OUT, DatasetIndex, Pair, find_files, match
from segdeploy.datasets.mask_formats import RedChannel, table
from segdeploy.datasets.registry import register_layout
from segdeploy.errors import AbsentError

# The sky has the first id, so it is a class and not left out. Colors as CARLA's own palette of
# Cityscapes.
CLASSES = (
    LabelClass(name="none", color=(0, 0, 0)),
    LabelClass(name="building", color=(70, 70, 70)),
    LabelClass(name="fence", color=(190, 153, 153)),
    LabelClass(name="other", color=(72, 0, 90)),
    LabelClass(name="pedestrian", color=(220, 20, 60)),
    LabelClass(name="pole", color=(153, 153, 153)),
    LabelClass(name="road line", color=(157, 234, 50)),
    LabelClass(name="road", color=(128, 64, 128)),
    LabelClass(name="sidewalk", color=(244, 35, 232)),
    LabelClass(name="vegetation", color=(107, 142, 35)),
    LabelClass(name="vehicle", color=(0, 0, 255)),
    LabelClass(name="wall", color=(102, 102, 156)),
    LabelClass(name="traffic sign", color=(220, 220, 0)),
)
TRUTH = RedChannel(table=table({index: index for index in range(len(CLASSES))}))
IMAGES, MASKS = "CameraRGB", "CameraSeg"
NEEDS = (
    f"the layout is {IMAGES}/NAME.png and {MASKS}/NAME.png, in the folder named by --data or in"
    " one or two folders below it for each part"
)


class Carla:
    """Parts with images and ids in the red channel.

    The last fifth of each part is val, since frames that follow each other are alike.
    """

    name = "carla"
    splits = ("train", "val")

    def survey(self, data: Path, split: str) -> DatasetIndex:
        """Find the parts, and in each the frames of a split."""
        parts = _find_parts(data)
        kept: list[Pair] = []
        lonely: list[Path] = []
        for part in parts:
            images, masks = (find_files(part / folder, needs=NEEDS) for folder in (IMAGES, MASKS))
            prefix = "" if part == data else f"{part.relative_to(data).as_posix()}/"
            pairs, alone = match(
                *(
                    {f"{prefix}{key}": path for key, path in side.items()}
                    for side in (images, masks)
                )
            )
            first = len(pairs) - max(1, round(HELD_OUT * len(pairs)))
            kept += pairs[first:] if split == "val" else pairs[: max(0, first)]
            lonely += alone
        rule = f"the last {HELD_OUT:.0%} of each part, by name, are val"
        return DatasetIndex(
            classes=CLASSES, pairs=tuple(kept), lonely=tuple(lonely), truth=TRUTH, rule=rule
        )


def _find_parts(data: Path) -> list[Path]:
    """Find the folders that hold both of a part's folders.

    Kaggle's archive has dataA/dataA, dataB/dataB ...
    """
    found = sorted(
        path.parent
        for pattern in ("", "*/", "*/*/")
        for path in data.glob(f"{pattern}{IMAGES}")
        if path.is_dir()
    )
    if not found:
        msg = f"there is no folder {IMAGES} in {data} nor in the folders below it; {NEEDS}"
        raise AbsentError(msg)
    return found


register_layout(Carla())
