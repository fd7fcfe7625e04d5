"""What a class weighs."""

from collections.abc import Sequence

import numpy as np
import pytest

from segdeploy.card import LabelClass
from segdeploy.datasets import Sample
from segdeploy.train.balance import class_weights


class Quarter:
    """A data set of one picture: a quarter of its labelled pixels is of class 1, some are not labelled."""

    rule = ""
    classes = (LabelClass(name="much", color=(0, 0, 0)), LabelClass(name="little", color=(255, 0, 0)))
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
    """1 / ln(1.02 + 3/4) = 1.7513 and 1 / ln(1.02 + 1/4) = 4.1838; their mean over the pixels, 2.3594, becomes 1."""
    much, little = weigh(Quarter(), "inverse-log")

    assert (much, little) == (pytest.approx(1.7513 / 2.3594, abs=1e-3), pytest.approx(4.1838 / 2.3594, abs=1e-3))
