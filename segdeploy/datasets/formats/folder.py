"""The user's own images and masks, with classes.toml to tell what the masks mean."""

from pathlib import Path

from segdeploy.datasets.class_map import LEGEND, read_class_map
from segdeploy.datasets.index import DatasetIndex, draw_split, find_files, match, without_truth
from segdeploy.datasets.registry import register_layout

NEEDS = (
    f"the layout is {LEGEND}, with images/ and masks/ (of which a fifth becomes val), or"
    " train/images/, train/masks/, val/images/, val/masks/, or images/train/, masks/train/,"
    " images/val/, masks/val/ (valid/ is val/ too), inside the folder named by --data"
)


class Folder:
    """Images and masks of one name; test may be without masks."""

    name = "folder"
    splits = ("train", "val", "test")

    def survey(self, data: Path, split: str) -> DatasetIndex:
        """Find a split in whichever of the three forms the folder has."""
        legend = read_class_map(data / LEGEND)
        images, masks = find_sides(data, split)
        found = find_files(images, needs=NEEDS)
        if split == "test" and not masks.is_dir():
            return DatasetIndex(
                classes=legend.classes, pairs=without_truth(found), lonely=(), truth=legend.truth()
            )
        pairs, lonely = match(found, find_files(masks, needs=NEEDS))
        if images != data / "images":
            return DatasetIndex(
                classes=legend.classes, pairs=pairs, lonely=lonely, truth=legend.truth()
            )
        kept, rule = draw_split(pairs, split, group=lambda pair: pair.name, of="pictures")
        return DatasetIndex(
            classes=legend.classes, pairs=kept, lonely=lonely, truth=legend.truth(), rule=rule
        )


def find_sides(data: Path, split: str) -> tuple[Path, Path]:
    """Return the folder of the images and that of the masks of a split.

    Undivided, train and val have the same.
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
