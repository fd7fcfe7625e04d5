"""Images of a confusion matrix, also where classes are missing."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy.card import LabelClass
from segdeploy.metrics.segmentation import ConfusionMatrix
from segdeploy.train.plots import draw_classes, draw_confusion


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 25])
def test_draws_any_number_of_classes(tmp_path: Path, classes: int) -> None:
    """The last class never occurs; more classes make a larger image."""
    matrix = ConfusionMatrix(classes)
    matrix.counts[: classes - 1, : classes - 1] = np.eye(classes - 1, dtype=np.int64) * 90 + 1
    named = [
        LabelClass(name=f"class {number}", color=(10 * number, 99, 200))
        for number in range(classes)
    ]

    draw_confusion(tmp_path / "confusion.png", matrix, named)
    draw_classes(tmp_path / "classes.png", matrix, named)

    assert cv2.imread(str(tmp_path / "confusion.png")).shape[0] > 40 * classes
    assert cv2.imread(str(tmp_path / "classes.png")).shape[0] > 25 * classes


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    """matplotlib raises an error for what is between two dollar signs and no formula."""
    names = (r"$\nothing{$", "a_b$c$^", "sky")
    named = [LabelClass(name=name, color=(0, 99, 200)) for name in names]
    matrix = ConfusionMatrix(len(names))

    draw_confusion(tmp_path / "confusion.png", matrix, named)
    draw_classes(tmp_path / "classes.png", matrix, named)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.png", "confusion.png"]
