"""A contact sheet shows every image in its place."""

import numpy as np

from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample
from segdeploy.train.preview import GAP, LINE, contact_sheet

CLASSES = (LabelClass(name="red", color=(255, 0, 0)), LabelClass(name="blue", color=(0, 0, 255)))

LEGEND = 2 * GAP + 3 * LINE
"""On a narrow sheet red, blue and not labeled stand below each other."""


def sample(index, height=20, width=40, name="name"):
    return Sample(
        image=np.full((height, width, 3), 100, np.uint8),
        mask=np.full((height, width), index, np.uint8),
        name=name,
    )


def test_pictures_lie_in_rows():
    """Three images in two columns: the third begins the second row."""
    sheet = contact_sheet(
        [sample(0), sample(1), sample(1)], CLASSES, columns=2, width=40, opacity=1
    )

    row = GAP + 20 + LINE
    assert sheet.shape == (2 * row + LEGEND, 3 * GAP + 80, 3)
    assert sheet[GAP, GAP].tolist() == [0, 0, 255]
    assert sheet[GAP + 19, 2 * GAP + 79].tolist() == [255, 0, 0]
    assert sheet[row + GAP, GAP].tolist() == [255, 0, 0]


def test_pictures_of_all_sizes_get_one_width():
    """A tall image makes its row taller."""
    sheet = contact_sheet(
        [sample(0), sample(1, height=80, width=40)], CLASSES, columns=2, width=40, opacity=1
    )

    assert len(sheet) == GAP + 80 + LINE + LEGEND
    assert sheet[GAP + 79, 2 * GAP + 40].tolist() == [255, 0, 0]


def test_a_long_name_keeps_its_end():
    """Frames differ in their last digits.

    A name as long as a file system allows is no problem either.
    """
    long, short = (
        contact_sheet([sample(0, name=name)], CLASSES, columns=1, width=60, opacity=1)
        for name in ("x" * 250 + "7", "7")
    )

    assert long.shape == short.shape
    assert not np.array_equal(long, short)


def test_a_legend_of_150_classes_fits():
    """ADE20K's names take many lines."""
    classes = tuple(
        LabelClass(name=f"class number {index}", color=(index, 0, 0)) for index in range(150)
    )

    sheet = contact_sheet([sample(0)], classes, columns=4, width=320, opacity=0.5)

    assert len(sheet) > 30 * LINE
