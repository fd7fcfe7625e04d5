"""The random split of a dataset whose authors chose none."""

import hashlib
from collections.abc import Callable, Collection, Sequence

from segdeploy.datasets.dataset import as_bytes
from segdeploy.datasets.index import Pair
from segdeploy.errors import DataError

SEED = 0
"""Seed of the random split."""

HELD_OUT = 0.2
"""Share of a dataset that becomes its validation split where its authors chose none."""


def draw_split(
    pairs: Sequence[Pair], split: str, *, group: Callable[[Pair], str], of: str
) -> tuple[tuple[Pair, ...], str]:
    """Return the pairs of "train" or "val" of a random split that keeps groups together.

    Args:
        pairs: All pairs.
        split: "train" or "val".
        group: Returns the group of a pair; all images of a group fall into one split.
        of: What a group is, in the plural, for example "cars".

    Returns:
        The pairs of the split, and a description of the rule.

    Raises:
        DataError: There is only one group.
    """
    val = held_out([group(pair) for pair in pairs]) if pairs else frozenset()
    rule = f"{HELD_OUT:.0%} of the {of} are val, drawn by SHA-256 with seed {SEED}"
    return tuple(pair for pair in pairs if (group(pair) in val) == (split == "val")), rule


def held_out(groups: Collection[str]) -> frozenset[str]:
    """Draw the groups of the validation split: a fifth of them, at least one, never all.

    Groups are ordered by the SHA-256 of the seed and their name, so that the split is the same on
    every machine, and a new group hardly moves the others.

    Raises:
        DataError: There is only one group.
    """
    if len(set(groups)) < 2:
        msg = (
            f"{next(iter(groups), 'nothing')} alone cannot be split into train and val; at least"
            " two are needed"
        )
        raise DataError(msg)
    drawn = sorted(
        set(groups), key=lambda group: hashlib.sha256(as_bytes(f"{SEED}/{group}")).digest()
    )
    return frozenset(drawn[: max(1, round(HELD_OUT * len(drawn)))])
