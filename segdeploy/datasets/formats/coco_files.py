"""Where the JSON and the images of a COCO dataset lie, as tools write them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segdeploy.errors import LayoutNotFoundError

DIVIDED = (
    ("annotations/instances_{split}2017.json", "{split}2017"),
    ("annotations/instances_{split}.json", "images/{split}"),
    ("annotations/instances_{split}.json", "{split}"),
    ("annotations/instances_{split}.json", "images"),
    ("annotations/instances_{subset}.json", "images/{subset}"),
    ("annotations/instances_{subset}.json", "images"),
    ("annotations/{split}.json", "images/{split}"),
    ("{split}/_annotations.coco.json", "{split}"),
    ("{valid}/_annotations.coco.json", "{valid}"),
    ("{split}/labels.json", "{split}/data"),
)
"""Annotations and folder of images of a split: COCO's own, common ones, CVAT's, Roboflow's,
FiftyOne's; the first that exists is taken."""

UNDIVIDED = (
    ("annotations.json", "images"),
    ("annotations/instances_default.json", "images/default"),
    ("annotations/instances_default.json", "images"),
    ("result.json", "images"),
    ("labels.json", "data"),
    ("_annotations.coco.json", "."),
)
"""Those of a dataset that is not divided into splits: common ones, CVAT's, Label Studio's,
FiftyOne's, Roboflow's."""

SUBSETS = {"train": "Train", "val": "Validation", "test": "Test"}
"""CVAT's names of the splits."""

NEEDS = (
    "the layout is annotations/instances_SPLIT.json and images/SPLIT/,"
    " annotations/instances_SPLIT2017.json and SPLIT2017/, SPLIT/_annotations.coco.json, or"
    " annotations.json, annotations/instances_default.json or result.json, and images/ (of which a"
    " fifth becomes val), inside the folder named by --data"
)


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Where a split lies.

    Attributes:
        file: The JSON.
        images: Folder of its images.
        is_undivided: Whether the JSON is of all splits.
        is_shared: Whether the folder holds images of other splits too.
    """

    file: Path
    images: Path
    is_undivided: bool = False
    is_shared: bool = False


def find_annotations(data: Path, split: str) -> Annotations:
    """Return where a split lies.

    Raises:
        LayoutNotFoundError: There are no annotations.
    """
    valid = "valid" if split == "val" else split
    for file, images in DIVIDED if split == "test" else DIVIDED + UNDIVIDED:
        names = {"split": split, "valid": valid, "subset": SUBSETS.get(split, split)}
        found = Annotations(
            file=data / file.format(**names),
            images=data / images.format(**names),
            is_undivided=(file, images) in UNDIVIDED,
            is_shared=(file, images) in DIVIDED and "{" not in images,
        )
        if found.file.is_file() and found.images.is_dir():
            return found
    msg = f"there are no annotations of {split} in {data}; {NEEDS}"
    raise LayoutNotFoundError(msg)


def find_images(names: Iterable[str], files: Mapping[str, Path]) -> dict[str, str]:
    """Find the files of images by the names that annotations give them.

    Tools write paths below the folder of images, below another folder, or of another machine. A
    name that is no file's path is that of the file, not named otherwise, with which it has most
    folders in common, or of the only one that is called so.

    Args:
        names: As `plain_name` returns them.
        files: Files by their path below the folder of images.

    Returns:
        Names by the path of the file; what is not found is left out.

    Raises:
        ValueError: Two names are of one file.
    """
    places = {name: name for name in names if name in files}
    free = files.keys() - places.keys()
    called: dict[str, list[str]] = defaultdict(list)
    for path in free:
        called[path.rpartition("/")[2]].append(path)
    for name in names:
        if name in files:
            continue
        parts = name.split("/")
        ends = ("/".join(parts[start:]) for start in range(1, len(parts)))
        same = called[parts[-1]]
        found = next((end for end in ends if end in free), same[0] if len(same) == 1 else None)
        if found is None:
            continue
        if found in places:
            msg = f"two images, {places[found]} and {name}, are the file {found}"
            raise ValueError(msg)
        places[found] = name
    return places


def without_endings(paths: Sequence[str]) -> list[str]:
    """Return paths without the ending of the file's name, but where another has the same then."""
    stems = [path.rpartition(".")[0] for path in paths]
    counts = Counter(stems)
    return [path if counts[stem] > 1 else stem for path, stem in zip(paths, stems, strict=True)]


def plain_name(name: str) -> str:
    """Return the name of an image's file with slashes, and without what leads out of a folder."""
    parts = name.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in {"", ".", ".."})
