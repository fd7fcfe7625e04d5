"""Samples chosen evenly, and the hash over the names of splits."""

from dataclasses import dataclass

import pytest

from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample, evenly_spaced, fingerprint


@dataclass(frozen=True)
class Named:
    """A split that has names only."""

    names: tuple[str, ...]
    classes: tuple[LabelClass, ...] = ()
    rule: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        raise AssertionError


@pytest.mark.parametrize(
    ("count", "most", "indices"),
    [
        (10, 5, [1, 3, 5, 7, 9]),
        (12, 3, [2, 6, 10]),
        (100, 1, [50]),
        (3, 20, [0, 1, 2]),
        (3, None, [0, 1, 2]),
        (0, 5, []),
    ],
)
def test_indices_lie_in_the_middle_of_equal_parts(
    count: int, most: int | None, indices: list[int]
) -> None:
    """The first images of a drive all look alike."""
    assert evenly_spaced(count, most) == indices


def test_fingerprint_depends_on_the_names_and_their_split() -> None:
    """It shows from a card whether two trainings used the same images."""
    train, val = Named(("a", "b")), Named(("c",))

    known = fingerprint(train=train, val=val)

    assert fingerprint(val=val, train=train) == known
    assert fingerprint(train=train, val=Named(("d",))) != known
    assert fingerprint(train=val, val=train) != known
