"""Files mean what their makers say, and a value that means nothing is named."""

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
    read_left_half,
    table,
)
from segdeploy.errors import DataError

RED, GREEN = (255, 0, 0), (0, 255, 0)


def pair(path: Path) -> Pair:
    """A pair whose truth lies in a file."""
    return Pair(name=path.stem, image=path, mask=path)


def save(path: Path, rows: object, mode: str = "L") -> Pair:
    """Write numbers or colors (red-green-blue) as an image."""
    Image.fromarray(np.array(rows, np.uint8)).convert(mode).save(path)
    return pair(path)


def test_ids_become_classes(tmp_path: Path) -> None:
    """Several numbers may mean one class, and some nothing."""
    truth = Ids(table=table({7: 0, 8: 0, 33: 1}, ignored=(4,)))

    mask = truth.read(save(tmp_path / "a.png", [[7, 8], [33, 4]]))

    assert mask.tolist() == [[0, 0], [1, 255]]


def test_foreign_id_is_named_with_its_file(tmp_path: Path) -> None:
    """Whoever has to mend it must know what and where."""
    truth = Ids(table=table({0: 0, 1: 1}))

    with pytest.raises(
        DataError, match=r"a\.png holds the id 9, which is no class; ids are 0, 1, 255"
    ):
        truth.read(save(tmp_path / "a.png", [[0, 9]]))


def test_palette_picture_gives_its_numbers_not_its_colors(tmp_path: Path) -> None:
    """Pascal's way to store masks."""
    image = Image.fromarray(np.array([[2, 0]], np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(tmp_path / "a.png")

    assert Ids(table=table({0: 0, 2: 1})).read(pair(tmp_path / "a.png")).tolist() == [[1, 0]]


def test_red_channel_holds_the_id(tmp_path: Path) -> None:
    """CARLA's other channels number things or are empty."""
    truth = RedChannel(table=table({0: 0, 7: 7}))

    assert truth.read(save(tmp_path / "a.png", [[[7, 1, 2], [0, 7, 9]]], "RGB")).tolist() == [
        [7, 0]
    ]


@pytest.mark.parametrize(
    ("numbers", "mode", "wanted"),
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
    numbers: list[list[int]], mode: str, wanted: list[list[int]], tmp_path: Path
) -> None:
    """Carvana's copies differ in the number for the car and in the kind of file."""
    assert Binary().read(save(tmp_path / "a.png", numbers, mode)).tolist() == wanted


@pytest.mark.parametrize(("numbers", "value"), [([[0, 1, 255]], 1), ([[0, 128]], 128)])
def test_third_number_in_black_and_white_is_named(
    numbers: list[list[int]], value: int, tmp_path: Path
) -> None:
    """A soft edge, as resizing makes it, is no truth."""
    with pytest.raises(DataError, match=f"holds the (id|number) {value}"):
        Binary().read(save(tmp_path / "a.png", numbers))


def test_exact_colors(tmp_path: Path) -> None:
    """One color off is another color."""
    truth = Colors(table=((RED, 0), (GREEN, 1)))

    assert truth.read(save(tmp_path / "a.png", [[RED, GREEN, (255, 0, 1)]], "RGB")).tolist() == [
        [0, 1, 255]
    ]


def test_foreign_color_is_named_where_it_must_not_be(tmp_path: Path) -> None:
    """In the user's own masks a color that nobody named is a mistake."""
    truth = Colors(table=((RED, 0),), strict=True)

    with pytest.raises(
        DataError, match=r"a\.png holds the color \(1, 2, 3\), which is no class's, on 2 pixels"
    ):
        truth.read(save(tmp_path / "a.png", [[RED, (1, 2, 3), (1, 2, 3)]], "RGB"))


def test_nearest_color_within_reach() -> None:
    """All distances are compared, against the plain way to do it."""
    random = np.random.default_rng(0)
    colors = random.integers(0, 256, (12, 3))
    picture = random.integers(0, 256, (50, 50, 3), dtype=np.uint8)
    truth = Colors(
        table=tuple(
            ((int(red), int(green), int(blue)), index)
            for index, (red, green, blue) in enumerate(colors)
        ),
        reach=60,
    )

    mask = truth.classify(picture, Path("a.png"))

    squares = ((picture[:, :, None, ::-1].astype(int) - colors) ** 2).sum(-1)
    np.testing.assert_array_equal(mask, np.where(squares.min(-1) <= 3600, squares.argmin(-1), 255))
    assert 0.2 < (mask == 255).mean() < 0.8


def test_colors_of_a_jpeg_are_found_again(tmp_path: Path) -> None:
    """JPEG moves colors; the nearest one is meant, and mixtures at edges are left out or taken for
    a neighbor.
    """
    picture = np.zeros((64, 128, 3), np.uint8)
    picture[:, 64:96], picture[:, 96:] = (142, 0, 0), (128, 64, 128)
    cv2.imwrite(str(tmp_path / "a.jpg"), picture)
    truth = RightHalf(colors=Colors(table=(((0, 0, 142), 13), ((128, 64, 128), 0)), reach=48))

    mask = truth.read(pair(tmp_path / "a.jpg"))

    assert (mask[:, :24] == 13).all()
    assert (mask[:, 40:] == 0).all()
    assert read_left_half(tmp_path / "a.jpg").max() < 40


def test_halves_of_an_odd_width_are_refused(tmp_path: Path) -> None:
    """One of them would be shifted by half a pixel."""
    save(tmp_path / "a.png", np.zeros((4, 7), np.uint8))

    with pytest.raises(DataError, match="is 7 pixels wide"):
        halves(tmp_path / "a.png")
