"""A network is scored on a dataset of other classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from segdeploy.card import LabelClass
from segdeploy.datasets.formats import camvid, cityscapes
from segdeploy.errors import ConfigError, DataError
from segdeploy.inference.label_map import BUILT_IN, map_by_name, read_mapping
from segdeploy.metrics.segmentation import ConfusionMatrix


def classes(*names: str) -> Sequence[LabelClass]:
    return [LabelClass(name=name, color=(0, 0, 0)) for name in names]


def test_names_are_compared_without_capitals() -> None:
    mapping = map_by_name(classes("sky", "void", "ROAD"), classes("Road", "Sky"))

    assert mapping.indices == (1, 2, 0)


def test_class_without_a_counterpart_is_always_wrong() -> None:
    """Left out of the count, a network could avoid all that is difficult."""
    mapping = map_by_name(classes("road", "void"), classes("road", "sky"))
    matrix = ConfusionMatrix(2, unlabeled=1)

    matrix.add(
        mapping.apply(np.array([[0, 0, 1, 1]], np.uint8)), np.array([[0, 0, 0, 1]], np.uint8)
    )

    scores = matrix.scores()
    assert scores.iou == (2 / 3, 0.0)
    assert (scores.miou, scores.pixel_accuracy, scores.pixels) == (1 / 3, 0.5, 4)


def test_file_names_what_means_the_same(tmp_path: Path) -> None:
    """Several classes of the network may stand for one; other names stand for themselves."""
    (tmp_path / "map.toml").write_text('truck = "Car"\n"motor bike" = "Car"\n')

    mapping = read_mapping(
        str(tmp_path / "map.toml"), classes("truck", "motor bike", "sky"), classes("Sky", "Car")
    )

    assert mapping.indices == (1, 1, 0)


def test_built_in_maps_name_classes_that_exist() -> None:
    sets = {"camvid": camvid.CLASSES, "cityscapes": cityscapes.CLASSES}

    for name in BUILT_IN:
        own, other = (sets[part] for part in name.split(":"))
        mapping = read_mapping(name, own, other)
        assert len(other) not in mapping.indices


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("nothing", ConfigError, "--map takes names, camvid:cityscapes, cityscapes:camvid, or"),
        ('sky = "Heaven"', DataError, "names 'Heaven', and the dataset has no such class"),
        ('heaven = "Sky"', DataError, "names 'heaven', and the network has no such class"),
        ("sky =", DataError, "is not TOML"),
        ("", DataError, "no class of the network stands for one of the dataset"),
    ],
)
def test_maps_that_cannot_be_used_are_refused(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text)

    with pytest.raises(error, match=message):
        read_mapping(
            "nothing" if text == "nothing" else str(path), classes("sky"), classes("Road", "Sky1")
        )
