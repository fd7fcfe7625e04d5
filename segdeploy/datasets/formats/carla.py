"""CARLA: frames of the simulator, as the Lyft Udacity Challenge of 2018 distributed them.

Synthetic towns at 800x600 with the 13 classes of CARLA 0.8.

On disk: CameraRGB/NAME.png and CameraSeg/NAME.png, the id in the red channel, in the folder itself
or in one folder for each part (Kaggle's copy has dataA/dataA ... dataE/dataE). There is no
validation split: the last fifth of each part becomes one, since consecutive frames look alike.

License: CARLA's assets are under CC BY; Kaggle's copy states its own.
"""

from pathlib import Path

from segdeploy.card import LabelClass
from segdeploy.datasets.index import DatasetIndex, Pair, find_files, match
from segdeploy.datasets.mask_formats import RedChannel, id_table
from segdeploy.datasets.registry import register_layout
from segdeploy.datasets.split import HELD_OUT
from segdeploy.errors import LayoutNotFoundError

# Id 0 ("none") is the sky too, so it is a class and not ignored. Colors are those of CARLA's
# Cityscapes palette.
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
MASK_FORMAT = RedChannel(table=id_table({index: index for index in range(len(CLASSES))}))
IMAGES, MASKS = "CameraRGB", "CameraSeg"
NEEDS = (
    f"the layout is {IMAGES}/NAME.png and {MASKS}/NAME.png, in the folder named by --data or in"
    " one or two folders below it for each part"
)


class Carla:
    """Parts with images, and masks with ids in the red channel."""

    name = "carla"
    splits = ("train", "val")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find the parts, and in each the frames of a split."""
        pairs: list[Pair] = []
        unpaired: list[Path] = []
        for part in _find_parts(data):
            matched, lone = match(*_find_sides(part, data))
            first_val = len(matched) - max(1, round(HELD_OUT * len(matched)))
            pairs += matched[first_val:] if split == "val" else matched[: max(0, first_val)]
            unpaired += lone
        return DatasetIndex(
            classes=CLASSES,
            pairs=tuple(pairs),
            unpaired=tuple(unpaired),
            mask_format=MASK_FORMAT,
            rule=f"the last {HELD_OUT:.0%} of each part, by name, are val",
        )


def _find_parts(data: Path) -> list[Path]:
    """Return the folders in `data`, up to two levels deep, that hold a part."""
    parts = sorted(
        path.parent
        for pattern in ("", "*/", "*/*/")
        for path in data.glob(f"{pattern}{IMAGES}")
        if path.is_dir()
    )
    if not parts:
        msg = f"there is no folder {IMAGES} in {data} nor in the folders below it; {NEEDS}"
        raise LayoutNotFoundError(msg)
    return parts


def _find_sides(part: Path, data: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the images and the masks of a part; its folder begins each key."""
    prefix = "" if part == data else f"{part.relative_to(data).as_posix()}/"
    images, masks = (
        {f"{prefix}{key}": path for key, path in find_files(part / side, needs=NEEDS).items()}
        for side in (IMAGES, MASKS)
    )
    return images, masks


register_layout(Carla())
