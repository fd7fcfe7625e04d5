"""Masks are read as their format says, and a value that is not a class is named."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segdeploy.datasets.index import Pair
from segdeploy.datasets.mask_formats import (
    Binary,
    Colors,
    Ids,
    RedChannel,
    RightHalf,
    halves,
    id_table,
    read_left_half,
)
from segdeploy.errors import DataError

RED, GREEN = (255, 0, 0), (0, 255, 0)


def pair(path: Path) -> Pair:
    """A pair whose mask is a file."""
    return Pair(name=path.stem, image=path, mask=path)


def save(path: Path, rows: object, mode: str = "L") -> Pair:
    """Write ids or colors (red-green-blue) as an image."""
    Image.fromarray(np.array(rows, np.uint8)).convert(mode).save(path)
    return pair(path)


def test_ids_become_classes(tmp_path: Path) -> None:
    """Several ids may mean one class, and some are not labeled."""
    mask_format = Ids(table=id_table({7: 0, 8: 0, 33: 1}, ignored=(4,)))

    mask = mask_format.read(save(tmp_path / "a.png", [[7, 8], [33, 4]]))

    assert mask.tolist() == [[0, 0], [1, 255]]


def test_unknown_id_is_named_with_its_file(tmp_path: Path) -> None:
    """The message says what is wrong, and where."""
    mask_format = Ids(table=id_table({0: 0, 1: 1}))

    with pytest.raises(
        DataError, match=r"a\.png holds the id 9, which is not a class; ids are 0, 1, 255"
    ):
        mask_format.read(save(tmp_path / "a.png", [[0, 9]]))


def test_palette_image_is_read_by_ids_not_by_colors(tmp_path: Path) -> None:
    """As Pascal VOC stores masks."""
    image = Image.fromarray(np.array([[2, 0]], np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(tmp_path / "a.png")

    assert Ids(table=id_table({0: 0, 2: 1})).read(pair(tmp_path / "a.png")).tolist() == [[1, 0]]


def test_red_channel_holds_the_id(tmp_path: Path) -> None:
    """CARLA's other channels number objects or are empty."""
    mask_format = RedChannel(table=id_table({0: 0, 7: 7}))

    assert mask_format.read(save(tmp_path / "a.png", [[[7, 1, 2], [0, 7, 9]]], "RGB")).tolist() == [
        [7, 0]
    ]


@pytest.mark.parametrize(
    ("values", "mode", "expected"),
    [
        ([[0, 1]], "L", [[0, 1]]),
        ([[0, 255]], "L", [[0, 1]]),
        ([[0, 255]], "1", [[0, 1]]),
        ([[0, 255]], "RGB", [[0, 1]]),
        ([[0, 0]], "L", [[0, 0]]),
        ([[1, 1]], "L", [[1, 1]]),
    ],
)
def test_black_and_white_is_two_classes(
    values: list[list[int]], mode: str, expected: list[list[int]], tmp_path: Path
) -> None:
    """Carvana's copies differ in the value of the car and in the kind of file."""
    assert Binary().read(save(tmp_path / "a.png", values, mode)).tolist() == expected


@pytest.mark.parametrize(("numbers", "value"), [([[0, 1, 255]], 1), ([[0, 128]], 128)])
def test_third_value_in_black_and_white_is_named(
    numbers: list[list[int]], value: int, tmp_path: Path
) -> None:
    """A soft edge from resizing is not a class."""
    with pytest.raises(DataError, match=f"holds the (id|number) {value}"):
        Binary().read(save(tmp_path / "a.png", numbers))


def test_exact_colors(tmp_path: Path) -> None:
    """The next color is another color."""
    mask_format = Colors(table=((RED, 0), (GREEN, 1)))

    assert mask_format.read(
        save(tmp_path / "a.png", [[RED, GREEN, (255, 0, 1)]], "RGB")
    ).tolist() == [[0, 1, 255]]


def test_unknown_color_is_named_if_strict(tmp_path: Path) -> None:
    """In the user's own masks an unnamed color is a mistake."""
    mask_format = Colors(table=((RED, 0),), strict=True)

    with pytest.raises(
        DataError,
        match=r"a\.png holds the color \(1, 2, 3\), which belongs to no class, on 2 pixels",
    ):
        mask_format.read(save(tmp_path / "a.png", [[RED, (1, 2, 3), (1, 2, 3)]], "RGB"))


def test_nearest_color_within_reach() -> None:
    """Against a plain comparison of all distances."""
    random = np.random.default_rng(0)
    colors = random.integers(0, 256, (12, 3))
    image = random.integers(0, 256, (50, 50, 3), dtype=np.uint8)
    mask_format = Colors(
        table=tuple(
            ((int(red), int(green), int(blue)), index)
            for index, (red, green, blue) in enumerate(colors)
        ),
        reach=60,
    )

    mask = mask_format.classify(image, Path("a.png"))

    squares = ((image[:, :, None, ::-1].astype(int) - colors) ** 2).sum(-1)
    np.testing.assert_array_equal(mask, np.where(squares.min(-1) <= 3600, squares.argmin(-1), 255))
    assert 0.2 < (mask == 255).mean() < 0.8


def test_colors_of_a_jpeg_are_assigned_to_the_nearest(tmp_path: Path) -> None:
    """JPEG moves colors; the nearest one counts, and blends at edges are not labeled."""
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, 64:96], image[:, 96:] = (142, 0, 0), (128, 64, 128)
    cv2.imwrite(str(tmp_path / "a.jpg"), image)
    mask_format = RightHalf(colors=Colors(table=(((0, 0, 142), 13), ((128, 64, 128), 0)), reach=48))

    mask = mask_format.read(pair(tmp_path / "a.jpg"))

    assert (mask[:, :24] == 13).all()
    assert (mask[:, 40:] == 0).all()
    assert read_left_half(tmp_path / "a.jpg").max() < 40


def test_halves_of_an_odd_width_are_refused(tmp_path: Path) -> None:
    """One half would be shifted by half a pixel."""
    save(tmp_path / "a.png", np.zeros((4, 7), np.uint8))

    with pytest.raises(DataError, match="is 7 pixels wide"):
        halves(tmp_path / "a.png")
