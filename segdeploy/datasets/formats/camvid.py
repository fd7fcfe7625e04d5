"""CamVid: 701 frames of drives in Cambridge, 11 classes.

Brostow, Fauqueur and Cipolla, "Semantic object classes in video", Pattern Recognition Letters 2009.
Its 32 classes are merged into SegNet's 11 as in MathWorks' example of SegNet.

On disk, one of three layouts: train/NAME.png and trainannot/NAME.png with ids at 480x360, as
SegNet's tutorial distributed it; train/NAME.png and train_labels/NAME_L.png in 32 colors, as
Kaggle's copy has it; or the original 701_StillsRaw_full/ at 960x720 with LabeledApproved_full/ or
701_StickorLabels/, split as SegNet's authors did or by train.txt, val.txt and test.txt.

License: commonly stated to be CC BY-NC, for non-commercial use with attribution.
"""

from pathlib import Path

from segdeploy.card import LabelClass
from segdeploy.datasets.index import DatasetIndex, MaskFormat, find_files, match
from segdeploy.datasets.mask_formats import Colors, Ids, id_table
from segdeploy.datasets.registry import register_layout
from segdeploy.errors import DataError
from segdeploy.imaging.io import EXTENSIONS
from segdeploy.imaging.palettes import Color

# Name, color, and the other colors of the original 32 classes that are merged into it.
_CLASSES: tuple[tuple[str, Color, tuple[Color, ...]], ...] = (
    ("Sky", (128, 128, 128), ()),
    # Archway, bridge, tunnel, wall.
    ("Building", (128, 0, 0), ((192, 0, 128), (0, 128, 64), (64, 0, 64), (64, 192, 0))),
    # Traffic cone.
    ("Pole", (192, 192, 128), ((0, 0, 64),)),
    # Lane markings, other markings.
    ("Road", (128, 64, 128), ((128, 0, 192), (192, 0, 64))),
    # Parking block, road shoulder.
    ("Pavement", (0, 0, 192), ((64, 192, 128), (128, 128, 192))),
    # Other vegetation.
    ("Tree", (128, 128, 0), ((192, 192, 0),)),
    # Text, traffic light.
    ("SignSymbol", (192, 128, 128), ((128, 128, 64), (0, 64, 64))),
    ("Fence", (64, 64, 128), ()),
    # SUV and pickup, truck and bus, train, other moving object.
    ("Car", (64, 0, 128), ((64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64))),
    # Child, pram or cart, animal.
    ("Pedestrian", (64, 64, 0), ((192, 128, 64), (64, 0, 192), (64, 128, 64))),
    # Motorcycle and scooter.
    ("Bicyclist", (0, 128, 192), ((192, 0, 192),)),
)
CLASSES = tuple(LabelClass(name=name, color=color) for name, color, _ in _CLASSES)
VOID = len(CLASSES)
"""Id of what is not labeled in SegNet's files; it becomes 255."""

IDS = Ids(table=id_table({index: index for index in range(VOID)}, ignored=(VOID,)))
COLORS = Colors(
    table=tuple(
        (color, index)
        for index, (_, own, others) in enumerate(_CLASSES)
        for color in (own, *others)
    )
)

IMAGES = "701_StillsRaw_full"
LABELS = ("LabeledApproved_full", "701_StickorLabels")
NEEDS = (
    "the layout is train/ and trainannot/ (gray ids), train/ and train_labels/ (NAME_L.png in 32"
    f" colors), or {IMAGES}/ and {LABELS[0]}/ or {LABELS[1]}/ (NAME_L.png) inside the folder"
    " named by --data"
)


class CamVid:
    """Images and masks of one name, in any of three layouts."""

    name = "camvid"
    splits = ("train", "val", "test")

    def index(self, data: Path, split: str) -> DatasetIndex:
        """Find a split in whichever of the three layouts the folder has."""
        if (data / IMAGES).is_dir():
            return _index_original(data, split)
        images = find_files(data / split, needs=NEEDS)
        if (data / f"{split}_labels").is_dir():
            masks = find_files(data / f"{split}_labels", ("_l.png",), needs=NEEDS)
            mask_format: MaskFormat = COLORS
        else:
            masks, mask_format = find_files(data / f"{split}annot", needs=NEEDS), IDS
        pairs, unpaired = match(images, masks)
        return DatasetIndex(
            classes=CLASSES, pairs=pairs, unpaired=unpaired, mask_format=mask_format
        )


def _index_original(data: Path, split: str) -> DatasetIndex:
    """Find a split of the original 701 images, by its list of names or by sequence."""
    labels = next((data / name for name in LABELS if (data / name).is_dir()), data / LABELS[0])
    images = find_files(data / IMAGES, EXTENSIONS, needs=NEEDS)
    masks = find_files(labels, ("_l.png",), needs=NEEDS)
    names_file = data / f"{split}.txt"
    if names_file.is_file():
        names = _read_names(names_file)
        if missing := sorted(names - images.keys()):
            msg = (
                f"{names_file} names {missing[0]}, which is not in {data / IMAGES}; add it or"
                " correct the list"
            )
            raise DataError(msg)
        rule = f"as {names_file.name} says"
    else:
        names = {name for name in images.keys() | masks.keys() if split_of(name) == split}
        rule = "by sequence, as SegNet's authors did"
    pairs, unpaired = match(
        {name: images[name] for name in names & images.keys()},
        {name: masks[name] for name in names & masks.keys()},
    )
    return DatasetIndex(
        classes=CLASSES, pairs=pairs, unpaired=unpaired, mask_format=COLORS, rule=rule
    )


def split_of(name: str) -> str:
    """Return the split of one of the 701 images, as SegNet's authors divided them: 367, 101, 233.

    The first half of 0001TP, all of 0006R0 and the slow part of 0016E5 are train, the fast part of
    0016E5 is val, the rest is test.

    Raises:
        DataError: The name is not one of CamVid's.
    """
    sequence, _, frame = name.partition("_")
    number = int(frame.lstrip("f")) if frame.lstrip("f").isdecimal() else -1
    match sequence:
        case "0001TP" if number >= 0:
            return "train" if number < 8550 else "test"
        case "0006R0" if number >= 0:
            return "train"
        case "0016E5" if number >= 0:
            return "val" if 7959 <= number <= 8159 else "train"
        case "Seq05VD" if number >= 0:
            return "test"
    msg = (
        f"{name} is not a name of CamVid's sequences 0001TP, 0006R0, 0016E5 and Seq05VD; write the"
        " splits into train.txt, val.txt and test.txt"
    )
    raise DataError(msg)


def _read_names(path: Path) -> set[str]:
    """Return the names of a split's images: the first word of each line, without folder and ending.

    Raises:
        DataError: The file is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} is not a list of names ({error}); write one name of an image on each line"
        raise DataError(msg) from error
    return {Path(words[0]).stem for line in lines if (words := line.split())}


register_layout(CamVid())
