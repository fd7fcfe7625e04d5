"""Classes get the colors of a palette or a file."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError
from segdeploy.imaging.palettes import PALETTES, distinct_color, recolor

CLASSES = tuple(LabelClass(name=name, color=(1, 2, 3)) for name in ("road", "side walk", "car"))


@pytest.mark.parametrize("name", PALETTES)
def test_every_palette_gives_each_class_its_own_color(name: str) -> None:
    """Names stay, and no two classes share a color."""
    found = recolor(CLASSES, name)

    assert [entry.name for entry in found] == ["road", "side walk", "car"]
    assert len({entry.color for entry in found}) == 3
    assert len(PALETTES[name](1)) == 1


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    """Both notations of a color; classes that are not named keep theirs."""
    path = tmp_path / "palette.toml"
    path.write_text('road = "#8040fF"\n"side walk" = [9, 8, 7]\n')

    assert [entry.color for entry in recolor(CLASSES, str(path))] == [
        (128, 64, 255),
        (9, 8, 7),
        (1, 2, 3),
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("road = ", "is not a palette"),
        ("sky = [1, 2, 3]", "'sky', which is not a class; classes are road, side walk, car"),
        ("road = [1, 2]", r"'\[1, 2\]' is not a color"),
        ("road = [1, 2, 256]", "is not a color"),
        ('road = "red"', "'red' is not a color"),
    ],
)
def test_a_bad_file_gets_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    """Where it is wrong, and what to write."""
    path = tmp_path / "palette.toml"
    path.write_text(content)

    with pytest.raises(ConfigError, match=sentence):
        recolor(CLASSES, str(path))


def test_an_unknown_palette_is_refused() -> None:
    """The message lists those that exist."""
    with pytest.raises(
        ConfigError,
        match="no palette or file rainbow; palettes are distinct, okabe-ito, turbo, cividis",
    ):
        recolor(CLASSES, "rainbow")


def test_okabe_and_ito_have_eight_colors() -> None:
    """Repeating a color would mislead."""
    with pytest.raises(ConfigError, match="8 colors and there are 9 classes"):
        recolor(CLASSES * 3, "okabe-ito")


VISION = {
    "all cones": np.eye(3),
    "no red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""What eyes see of linear red, green, blue (Machado, Oliveira and Fernandes 2009, table 1)."""


def least_distance(colors: list[tuple[int, int, int]], vision: str) -> float:
    """Return the distance in CIELAB of the two most similar of some colors."""
    encoded = np.array([colors], np.float32) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(VISION[vision]).T, 0, 1)
    again = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(again.astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return float(distances[~np.eye(len(lab), dtype=bool)].min())


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(
    ("palette", "count", "least"),
    [
        ("distinct", 2, 85),
        ("distinct", 8, 28),
        ("distinct", 12, 19),
        ("distinct", 20, 14),
        ("distinct", 40, 10),
        ("okabe-ito", 8, 15),
        ("cividis", 8, 8),
    ],
)
def test_classes_are_told_apart_by_every_eye(
    vision: str, palette: str, count: int, least: float
) -> None:
    """A trained eye sees a distance of 2; of 20 classes, two once were 1 apart."""
    assert least_distance(PALETTES[palette](count), vision) >= least


def test_every_class_has_a_color_of_its_own() -> None:
    """Up to the largest set of classes that a mask can hold."""
    assert len({distinct_color(index) for index in range(255)}) == 255
