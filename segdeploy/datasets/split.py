"""The random split of a dataset whose authors chose none, by scene where names tell it."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from segdeploy.datasets.dataset import ALL, as_bytes
from segdeploy.datasets.index import Pair
from segdeploy.errors import DataError

SEED = 0
"""Seed of the random split."""

HELD_OUT = 0.2
"""Share of a dataset that becomes its validation split where its authors chose none."""

SEPARATOR = re.compile(r"[ _.\-]+")

LEAST_SCENES = 3
"""Scenes that names must tell: two prefixes are as often two classes or two sources."""

LARGEST_SCENE = 0.8
"""Largest share of the images that a scene may have, so that the others make a validation split."""

FEW_SCENES, MAX_VIEWS = 5, 32
"""So few prefixes are scenes only where each has a digit, as "car07", or none has more views:
"cat" and "dog" with hundreds of images are classes."""


def sequence(name: str) -> str:
    """Return the part of a name before its last number, which counts the frames of a drive.

    "0016E5_" of "0016E5_07959".
    """
    frame = re.match(r"(.*?)\d+\D*$", name)
    return frame.group(1) if frame else name


def scenes_of(names: Sequence[str]) -> list[str]:
    """Return the scene of each image, a drive or an object with its views, where names tell it.

    A scene is the shortest part of the names before a separator, or before the last number, that
    divides the images: into several groups, of which none has more than `LARGEST_SCENE` of them.
    Where there is none, each image is a scene.

    Example:
        "car1" twice and "car2", "car3" of "car1_left", "car1_right", "car2_left" and "car3_left".
    """
    separators = [[found.start() for found in SEPARATOR.finditer(name)] for name in names]
    for depth in range(max(map(len, separators), default=0)):
        scenes = [
            name[: places[depth]] if depth < len(places) else name
            for name, places in zip(names, separators, strict=True)
        ]
        if _are_scenes(scenes):
            return scenes
    scenes = [sequence(name) for name in names]
    return scenes if _are_scenes(scenes) else list(names)


def _are_scenes(groups: Sequence[str]) -> bool:
    """Return whether the groups of all images are scenes, rather than one series, or classes."""
    sizes = Counter(groups)
    most = max(sizes.values(), default=0)
    if not (LEAST_SCENES <= len(sizes) < len(groups) and most <= LARGEST_SCENE * len(groups)):
        return False
    with_digits = all(re.search(r"\d", group) for group in sizes)
    return len(sizes) >= FEW_SCENES or with_digits or most <= MAX_VIEWS


def draw_by_scene(pairs: Sequence[Pair], split: str) -> tuple[tuple[Pair, ...], str]:
    """Return the pairs of "train" or "val" of a random split that keeps scenes together.

    Args:
        pairs: All pairs.
        split: "train" or "val".

    Returns:
        The pairs of the split, and a description of the rule.

    Raises:
        DataError: There is only one pair.
    """
    names = [pair.name for pair in pairs]
    scenes = dict(zip(names, scenes_of(names), strict=True))
    of = "images" if all(name == scene for name, scene in scenes.items()) else "scenes"
    return draw_split(pairs, split, group=lambda pair: scenes[pair.name], of=of)


def draw_split(
    pairs: Sequence[Pair], split: str, *, group: Callable[[Pair], str], of: str
) -> tuple[tuple[Pair, ...], str]:
    """Return the pairs of "train", "val" or `ALL` of a random split that keeps groups together.

    Args:
        pairs: All pairs.
        split: "train", "val" or `ALL`.
        group: Returns the group of a pair; all images of a group fall into one split.
        of: What a group is, in the plural, for example "cars".

    Returns:
        The pairs of the split, and a description of the rule.

    Raises:
        DataError: There is only one group.
    """
    if split == ALL:
        return tuple(pairs), "all of them"
    val = held_out([group(pair) for pair in pairs]) if pairs else frozenset()
    rule = f"{HELD_OUT:.0%} of the {of} are val, drawn by SHA-256 with seed {SEED}"
    return tuple(pair for pair in pairs if (group(pair) in val) == (split == "val")), rule


def held_out(groups: Collection[str]) -> frozenset[str]:
    """Draw the groups of the validation split: a fifth of them, at least one, never all.

    A group of more than half of the images is drawn only where all others are.

    Groups are ordered by the SHA-256 of the seed and their name, so that the split is the same on
    every machine, and a new group hardly moves the others.

    Raises:
        DataError: There is only one group.
    """
    sizes = Counter(groups)
    if len(sizes) < 2:
        msg = (
            f"{next(iter(groups), 'nothing')} alone cannot be split into train and val; at least"
            " two are needed"
        )
        raise DataError(msg)
    drawn = sorted(sizes, key=lambda group: hashlib.sha256(as_bytes(f"{SEED}/{group}")).digest())
    drawn.sort(key=lambda group: 2 * sizes[group] > len(groups))
    return frozenset(drawn[: max(1, round(HELD_OUT * len(drawn)))])
