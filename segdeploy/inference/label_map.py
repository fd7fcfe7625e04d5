"""Classes of a network and of a dataset that mean the same: scores across sets of classes."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError, DataError

MAX_BYTES = 1 << 20

CITYSCAPES_TO_CAMVID = {
    "road": "Road",
    "sidewalk": "Pavement",
    "building": "Building",
    "wall": "Building",
    "fence": "Fence",
    "pole": "Pole",
    "traffic light": "SignSymbol",
    "traffic sign": "SignSymbol",
    "vegetation": "Tree",
    "terrain": "Tree",
    "sky": "Sky",
    "person": "Pedestrian",
    "rider": "Bicyclist",
    "car": "Car",
    "truck": "Car",
    "bus": "Car",
    "train": "Car",
    "motorcycle": "Bicyclist",
    "bicycle": "Bicyclist",
}
"""CamVid's 11 classes have the trucks and trains of its 32 in "Car", its walls in "Building"."""

CAMVID_TO_CITYSCAPES = {
    "Sky": "sky",
    "Building": "building",
    "Pole": "pole",
    "Road": "road",
    "Pavement": "sidewalk",
    "Tree": "vegetation",
    "SignSymbol": "traffic sign",
    "Fence": "fence",
    "Car": "car",
    "Pedestrian": "person",
    "Bicyclist": "rider",
}

BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "camvid:cityscapes": CAMVID_TO_CITYSCAPES,
    "cityscapes:camvid": CITYSCAPES_TO_CAMVID,
}
"""Class of the dataset by class of the network, by the name that `--map` knows it under."""


@dataclass(frozen=True, kw_only=True)
class ClassMapping:
    """The class of a dataset that each class of a network stands for.

    Attributes:
        indices: For each class of the network the index of the dataset's; the number of the
            dataset's classes where there is none: such a pixel is wrong whatever its label.
        classes: Number of classes of the dataset.
    """

    indices: tuple[int, ...]
    classes: int

    def apply(self, mask: Mask) -> Mask:
        """Return a mask of the network in the classes of the dataset."""
        table = np.full(256, self.classes, np.uint8)
        table[: len(self.indices)] = self.indices
        return np.asarray(table[mask], dtype=np.uint8)


def same_order(count: int) -> ClassMapping:
    """Return the mapping of classes that are the same."""
    return ClassMapping(indices=tuple(range(count)), classes=count)


def map_by_name(predicted: Sequence[LabelClass], labeled: Sequence[LabelClass]) -> ClassMapping:
    """Return the mapping between classes of the same name, whatever its capitals."""
    places = {entry.name.casefold(): index for index, entry in enumerate(labeled)}
    indices = tuple(places.get(entry.name.casefold(), len(labeled)) for entry in predicted)
    return ClassMapping(indices=indices, classes=len(labeled))


def read_mapping(
    text: str, predicted: Sequence[LabelClass], labeled: Sequence[LabelClass]
) -> ClassMapping:
    """Return the mapping that `--map` names.

    Args:
        text: A key of BUILT_IN, "names", or a TOML file with lines such as `truck = "Car"`: class
            of the network, class of the dataset. A class of the network that it does not name
            stands for that of its own name, if there is one.
        predicted: Classes of the network.
        labeled: Classes of the dataset.

    Raises:
        ConfigError: It is none of these.
        DataError: The file cannot be used, or names a class that does not exist.
    """
    if text == "names":
        table: Mapping[str, object] = {}
    elif text in BUILT_IN:
        table = BUILT_IN[text]
    elif Path(text).is_file():
        table = _read(Path(text))
    else:
        msg = f"there is no file {text}; --map takes names, {', '.join(BUILT_IN)}, or a TOML file"
        raise ConfigError(msg)
    own = {entry.name: index for index, entry in enumerate(predicted)}
    other = {entry.name: index for index, entry in enumerate(labeled)}
    indices = list(map_by_name(predicted, labeled).indices)
    for name, target in table.items():
        for known, value, whose in ((own, name, "network"), (other, target, "dataset")):
            if value not in known:
                msg = (
                    f"--map {text} names {str(value)[:40]!r}, and the {whose} has no such class; it"
                    f" has {', '.join(known)}"
                )
                raise DataError(msg)
        indices[own[name]] = other[str(target)]
    if all(index == len(labeled) for index in indices):
        msg = (
            "no class of the network stands for one of the dataset; name those that mean the same"
            " in a TOML file, and give it as --map FILE"
        )
        raise DataError(msg)
    return ClassMapping(indices=tuple(indices), classes=len(labeled))


def _read(path: Path) -> Mapping[str, object]:
    try:
        content = path.read_bytes()[: MAX_BYTES + 1].decode("utf-8-sig")
        return tomllib.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        msg = f'{path} is not TOML ({error}); write lines such as truck = "Car"'
        raise DataError(msg) from error
