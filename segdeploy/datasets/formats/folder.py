"""Your own images and masks, with a classes.toml that says what the masks hold.

On disk: classes.toml, and one of three arrangements of images and masks of one name; see `NEEDS`.
Undivided files are split at random: a fifth of the scenes, where names tell them, or else of the
images becomes the validation split. The test
split may be without masks.
"""

from contextlib import suppress
from pathlib import Path

from segdeploy.datasets.class_map import CLASS_MAP_FILE, read_class_map
from segdeploy.datasets.index import (
    BY_FOLDER,
    DatasetIndex,
    find_files,
    find_folders,
    match,
    without_mask,
)
from segdeploy.datasets.registry import register_layout
from segdeploy.datasets.split import draw_by_scene
from segdeploy.errors import LayoutNotFoundError

NEEDS = (
    f"the layout is {CLASS_MAP_FILE}, with images/ and masks/ (of which a fifth becomes val), or"
    " train/images/, train/masks/, val/images/, val/masks/, or images/train/, masks/train/,"
    " images/val/, masks/val/ (valid/ is val/ too), inside the folder named by --data"
)


class Folder:
    """Images and masks of one name, in any of three arrangements of folders."""

    name = "folder"
    draws_splits = True
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find the images and masks of a split."""
        class_map = read_class_map(data / CLASS_MAP_FILE)
        image_folder, mask_folder = find_sides(data, split)
        images = find_images(image_folder, mask_folder)
        rule = BY_FOLDER
        unpaired: tuple[Path, ...] = ()
        if split == "test" and not mask_folder.is_dir():
            pairs = without_mask(images)
        else:
            pairs, unpaired = match(images, find_files(mask_folder, needs=NEEDS))
        if image_folder == data / "images":
            pairs, rule = draw_by_scene(pairs, split)
        return DatasetIndex(
            classes=class_map.classes,
            pairs=pairs,
            unpaired=unpaired,
            mask_format=class_map.mask_format(),
            rule=rule,
        )


def find_images(folder: Path, masks: Path) -> dict[str, Path]:
    """Find images: files, or NumPy arrays, or folders of masks' names with a file for each band.

    Args:
        folder: Where the images are.
        masks: Where the masks are.

    Raises:
        LayoutNotFoundError: There are none of any kind.
    """
    try:
        return find_files(folder, needs=NEEDS)
    except LayoutNotFoundError:
        with suppress(LayoutNotFoundError):
            return find_files(folder, (".npy",), needs=NEEDS)
        with suppress(LayoutNotFoundError):
            names = find_files(masks, needs=NEEDS)
            scenes = {path.name: path for path in find_folders(folder, needs=NEEDS)}
            if scenes.keys() <= names.keys():
                return scenes
        raise


def find_sides(data: Path, split: str) -> tuple[Path, Path]:
    """Return the folder of the images and that of the masks of a split.

    Where files are undivided, train and val have the same two.
    """
    for name in (split, "valid") if split == "val" else (split,):
        for sides in (
            (data / name / "images", data / name / "masks"),
            (data / "images" / name, data / "masks" / name),
        ):
            if sides[0].is_dir():
                return sides
    if (data / "train" / "images").is_dir():
        return data / split / "images", data / split / "masks"
    undivided = data / "images", data / "masks"
    if split == "test" or (undivided[0] / "train").is_dir() or not undivided[0].is_dir():
        return undivided[0] / split, undivided[1] / split
    return undivided


register_layout(Folder())
