"""What a class weighs."""

from collections.abc import Sequence

import numpy as np
import pytest

from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample
from segdeploy.train.objective import class_weights


class Quarter:
    """A dataset of one image.

    A quarter of its labeled pixels is of class 1, some are not labeled.
    """

    rule = ""
    classes = (
        LabelClass(name="much", color=(0, 0, 0)),
        LabelClass(name="little", color=(255, 0, 0)),
    )
    names: Sequence[str] = ("one",)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        mask = np.array([[0, 0, 0, 1, 255]], np.uint8)
        return Sample(image=np.zeros((1, 5, 3), np.uint8), mask=mask, name="one")


def weigh(samples: Quarter, way: str) -> list[float]:
    weights = class_weights(samples, way)
    assert weights is not None
    return [float(weight) for weight in weights]


def test_rare_class_weighs_as_enet_says() -> None:
    """1 / ln(1.02 + 3/4) = 1.7513 and 1 / ln(1.02 + 1/4) = 4.1838.

    Their mean over the pixels, 2.3594, becomes 1.
    """
    much, little = weigh(Quarter(), "inverse-log")

    assert (much, little) == (
        pytest.approx(1.7513 / 2.3594, abs=1e-3),
        pytest.approx(4.1838 / 2.3594, abs=1e-3),
    )


class Pair(Quarter):
    """Two images of four labeled pixels: the second has no class 1, and class 2 never occurs."""

    classes = (*Quarter.classes, LabelClass(name="never", color=(0, 255, 0)))
    names = ("one", "two")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        mask = np.array([[0, 0, 0, index == 0, 255]], np.uint8)
        return Sample(image=np.zeros((1, 5, 3), np.uint8), mask=mask, name=str(index))


def test_median_frequency_looks_only_at_pictures_that_show_a_class() -> None:
    """Class 0 is 7 of 8, class 1 is 1 of the 4 of its one image.

    Their median is 9/16: weights 9/14 and 9/4, 1 for what never occurs.

    Their mean over the pixels, 7/8 * 9/14 + 1/8 * 9/4 = 27/32, becomes 1.
    """
    much, little, never = weigh(Pair(), "median-frequency")

    assert (much, little, never) == pytest.approx((9 / 14 * 32 / 27, 9 / 4 * 32 / 27, 32 / 27))


def test_all_alike_is_no_weights() -> None:
    """Nothing is read to find that out."""
    assert class_weights(Pair(), "none") is None
