"""CamVid: as SegNet's tutorial spread it, and the original 701 images with 32 colors.

Brostow, Fauqueur and Cipolla, "Semantic object classes in video", Pattern Recognition Letters 2009.
The 32 colors become SegNet's 11 classes as in MathWorks' example of SegNet.
"""

from pathlib import Path

from segdeploy.card import LabelClass
from segdeploy.datasets.index import DatasetIndex, find_files, match
from segdeploy.datasets.mask_formats import Colors, Ids, table
from segdeploy.datasets.registry import register_layout
from segdeploy.errors import DataError
from segdeploy.imaging.io import ENDINGS
from segdeploy.imaging.palettes import Color

# Name, color, and the colors of the original 32 that it takes in.
_CLASSES: tuple[tuple[str, Color, tuple[Color, ...]], ...] = (
    ("Sky", (128, 128, 128), ()),
    (
        "Building",
        (128, 0, 0),
        ((192, 0, 128), (0, 128, 64), (64, 0, 64), (64, 192, 0)),
    ),  # archway, bridge, tunnel, wall
    ("Pole", (192, 192, 128), ((0, 0, 64),)),  # traffic cone
    ("Road", (128, 64, 128), ((128, 0, 192), (192, 0, 64))),  # marks of lanes, other marks
    ("Pavement", (0, 0, 192), ((64, 192, 128), (128, 128, 192))),  # parking block, road shoulder
    ("Tree", (128, 128, 0), ((192, 192, 0),)),  # other vegetation
    ("SignSymbol", (192, 128, 128), ((128, 128, 64), (0, 64, 64))),  # text, traffic light
    ("Fence", (64, 64, 128), ()),
    (
        "Car",
        (64, 0, 128),
        ((64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    ),  # SUV and pickup, truck and bus, train, other
    (
        "Pedestrian",
        (64, 64, 0),
        ((192, 128, 64), (64, 0, 192), (64, 128, 64)),
    ),  # child, pram or cart, animal
    ("Bicyclist", (0, 128, 192), ((192, 0, 192),)),  # motorcycle and scooter
)
CLASSES = tuple(LabelClass(name=name, color=color) for name, color, _ in _CLASSES)
VOID = len(CLASSES)
"""Id of a pixel that is not labeled, in SegNet's files; it becomes 255."""

IDS = Ids(table=table({index: index for index in range(VOID)}, ignored=(VOID,)))
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
    """Images and truth of one name.

    The original 701 are split as SegNet's authors did, or by train.txt, val.txt and test.txt.
    """

    name = "camvid"
    splits = ("train", "val", "test")

    def survey(self, data: Path, split: str) -> DatasetIndex:
        """Find a split in whichever of the three layouts the folder has."""
        if (data / IMAGES).is_dir():
            return _original(data, split)
        if (data / f"{split}_labels").is_dir():
            images, masks = (
                find_files(data / split, needs=NEEDS),
                find_files(data / f"{split}_labels", ("_l.png",), needs=NEEDS),
            )
            pairs, lonely = match(images, masks)
            return DatasetIndex(classes=CLASSES, pairs=pairs, lonely=lonely, truth=COLORS)
        pairs, lonely = match(
            find_files(data / split, needs=NEEDS), find_files(data / f"{split}annot", needs=NEEDS)
        )
        return DatasetIndex(classes=CLASSES, pairs=pairs, lonely=lonely, truth=IDS)


def _original(data: Path, split: str) -> DatasetIndex:
    labels = next((data / name for name in LABELS if (data / name).is_dir()), data / LABELS[0])
    images = find_files(data / IMAGES, ENDINGS, needs=NEEDS)
    masks = find_files(labels, ("_l.png",), needs=NEEDS)
    listed = data / f"{split}.txt"
    if listed.is_file():
        names = _read_list(listed)
        if missing := sorted(names - images.keys()):
            msg = (
                f"{listed} names {missing[0]}, which is not in {data / IMAGES}; add it or correct"
                " the list"
            )
            raise DataError(msg)
        rule = f"as {listed.name} says"
    else:
        names = {name for name in images.keys() | masks.keys() if split_of(name) == split}
        rule = "by sequence, as SegNet's authors did"
    pairs, lonely = match(
        *({name: side[name] for name in names & side.keys()} for side in (images, masks))
    )
    return DatasetIndex(classes=CLASSES, pairs=pairs, lonely=lonely, truth=COLORS, rule=rule)


def split_of(name: str) -> str:
    """Return the split of one of the 701 images in SegNet's division into 367, 101 and 233.

    The first half of 0001TP, all of 0006R0 and the slow part of 0016E5 are train, the fast part of
    0016E5 is val, the rest is test.

    Raises:
        DataError: It is none of the 701 images' names.
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
        f"{name} is no name of CamVid's sequences 0001TP, 0006R0, 0016E5 and Seq05VD; write the"
        " splits into train.txt, val.txt and test.txt"
    )
    raise DataError(msg)


def _read_list(path: Path) -> set[str]:
    """Read the names of a split's images.

    The first word of each line, without folder and ending.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} is no list of names ({error}); write one name of an image on each line"
        raise DataError(msg) from error
    return {Path(words[0]).stem for line in lines if (words := line.split())}


register_layout(CamVid())
