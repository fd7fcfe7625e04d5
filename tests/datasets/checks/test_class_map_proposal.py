"""`segdeploy data init` writes a classes.toml with which a folder's masks can be read."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segdeploy import datasets
from segdeploy.cli.data import init
from segdeploy.datasets.checks.class_map_proposal import propose_class_map
from segdeploy.datasets.class_map import read_class_map
from segdeploy.errors import ConfigError, DataError


def draw(data: Path, masks: list[np.ndarray], ending: str = "png") -> None:
    """Write black images with these masks."""
    for folder in ("images", "masks"):
        (data / folder).mkdir(exist_ok=True)
    for number, mask in enumerate(masks):
        Image.new("RGB", mask.shape[1::-1]).save(data / f"images/{number}.png")
        Image.fromarray(mask).save(data / f"masks/{number}.{ending}")


def proposed(data: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """Write the proposal, and return the names and colors that are read from it."""
    (data / "classes.toml").write_text(propose_class_map(data), encoding="utf-8")
    return [(entry.name, entry.color) for entry in read_class_map(data / "classes.toml").classes]


def test_numbers_become_classes_and_255_is_ignored(tmp_path: Path) -> None:
    """The proposal reads the masks as they are."""
    draw(tmp_path, [np.array([[3, 7, 255]], np.uint8), np.array([[7, 9, 9]], np.uint8)])

    names = [name for name, _ in proposed(tmp_path)]

    assert names == ["class_3", "class_7", "class_9"]
    masks = {
        name: files[index].mask.tolist()
        for files in splits(tmp_path)
        for index, name in enumerate(files.names)
    }
    assert masks == {"0": [[0, 1, 255]], "1": [[1, 2, 2]]}


def splits(data: Path) -> list[datasets.Dataset]:
    """Both splits of the folder."""
    return [datasets.load("folder", data, split) for split in ("train", "val")]


@pytest.mark.parametrize("white", [1, 255])
def test_black_and_white_is_background_and_foreground(white: int, tmp_path: Path) -> None:
    """The most common kind of mask; 255 is a class there."""
    draw(tmp_path, [np.array([[0, white]], np.uint8)] * 2)

    assert [name for name, _ in proposed(tmp_path)] == ["background", "foreground"]
    assert splits(tmp_path)[0][0].mask.tolist() == [[0, 1]]


def test_palette_colors_become_the_classes_colors(tmp_path: Path) -> None:
    """Colors that were chosen once are kept."""
    draw(tmp_path, [np.zeros((2, 2), np.uint8)])
    image = Image.fromarray(np.array([[0, 2]], np.uint8), "P")
    image.putpalette([0, 0, 0, 9, 9, 9, 250, 0, 10])
    image.save(tmp_path / "masks/0.png")

    assert proposed(tmp_path) == [("class_0", (0, 0, 0)), ("class_2", (250, 0, 10))]


def test_colors_become_classes(tmp_path: Path) -> None:
    """Each color is one, and is read exactly."""
    draw(
        tmp_path,
        [
            np.array([[(255, 0, 0), (0, 0, 255)]], np.uint8),
            np.array([[(0, 255, 0), (255, 0, 0)]], np.uint8),
        ],
    )

    assert proposed(tmp_path) == [
        ("class_0", (0, 0, 255)),
        ("class_1", (0, 255, 0)),
        ("class_2", (255, 0, 0)),
    ]
    masks = {
        name: files[index].mask.tolist()
        for files in splits(tmp_path)
        for index, name in enumerate(files.names)
    }
    assert masks == {"0": [[2, 0]], "1": [[1, 2]]}


def test_jpeg_masks_are_reduced_to_their_main_colors(tmp_path: Path) -> None:
    """Hundreds of colors are two classes, and the proposal says why."""
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[16:48, 16:48] = (0, 120, 240)
    draw(tmp_path, [np.zeros((64, 64, 3), np.uint8)] * 2)
    for number in range(2):
        (tmp_path / f"masks/{number}.png").unlink()
        cv2.imwrite(str(tmp_path / f"masks/{number}.jpg"), mask)

    text = propose_class_map(tmp_path)

    assert "JPEG has changed: save masks as PNG" in text
    colors = [color for _, color in proposed(tmp_path)]
    assert len(colors) == 2
    np.testing.assert_allclose(colors, [(0, 0, 0), (240, 120, 0)], atol=6)
    read = splits(tmp_path)[0][0].mask
    assert (read[20:44, 20:44] == 1).all()
    assert (read[:8] == 0).all()


def test_photographs_are_not_masks(tmp_path: Path) -> None:
    """Image and mask folders may be swapped."""
    draw(tmp_path, [np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)])

    with pytest.raises(
        DataError, match=r"1 of 1 masks hold \d+ colors, more than there can be classes"
    ):
        propose_class_map(tmp_path)


def test_labels_of_labelme_are_collected(tmp_path: Path) -> None:
    """With any characters in them; those that labelme's converters know are left out."""
    for name, label in (("a", 'car "old"'), ("b", "bücher\x7f"), ("c", "__ignore__")):
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"shapes": [{"label": label, "points": []}]})
        )

    assert [name for name, _ in proposed(tmp_path)] == ["background", "bücher", 'car "old"']


def test_categories_of_coco_are_collected(tmp_path: Path) -> None:
    """The user can group them in the file."""
    (tmp_path / "images").mkdir()
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 7, "name": "bus"}, {"id": 3, "name": "car"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))

    assert [name for name, _ in proposed(tmp_path)] == ["background", "car", "bus"]


def test_a_folder_without_masks_is_reported(tmp_path: Path) -> None:
    """The message says what was expected."""
    with pytest.raises(DataError, match="there are no masks in masks, masks/train, train/masks"):
        propose_class_map(tmp_path)


def test_command_writes_once(tmp_path: Path) -> None:
    """Names that the user gave are replaced with --force only."""
    draw(tmp_path, [np.array([[3, 7]], np.uint8)])

    first = CliRunner().invoke(init, [str(tmp_path)])
    second = CliRunner().invoke(init, [str(tmp_path)])
    third = CliRunner().invoke(init, [str(tmp_path), "--force"])

    assert first.exit_code == third.exit_code == 0
    assert first.stdout == (tmp_path / "classes.toml").read_text()
    assert isinstance(second.exception, ConfigError)


def disk(low: int, high: int, *, blur: float) -> np.ndarray:
    """A disk of one gray on another, with edges as a drawing program smooths them."""
    mask = np.full((96, 128), low, np.uint8)
    cv2.circle(mask, (64, 48), 30, high, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("blur", [0.4, 1.0, 4.0])
def test_smoothed_edges_of_black_and_white_are_not_classes(
    tmp_path: Path, blur: float, channels: int
) -> None:
    """A soft brush leaves up to 254 grays; each belongs to the nearer class."""
    mask = disk(0, 255, blur=blur)
    draw(tmp_path, [mask if channels == 1 else np.dstack([mask] * 3)] * 2)

    assert "save masks without smoothing" in propose_class_map(tmp_path)
    assert [name for name, _ in proposed(tmp_path)] == ["background", "foreground"]
    np.testing.assert_array_equal(splits(tmp_path)[0][0].mask, (mask >= 128).astype(np.uint8))


def test_smoothed_edges_of_three_grays_are_not_classes(tmp_path: Path) -> None:
    """The middle gray has flat areas; a blend has none."""
    mask = disk(0, 255, blur=0.8)
    mask[:, :20] = 100
    draw(tmp_path, [mask] * 2)

    assert len(proposed(tmp_path)) == 3
    read = splits(tmp_path)[0][0].mask
    assert [read[0, 10], read[0, 100], read[48, 64]] == [1, 0, 2]
    assert (read != 255).all()


def test_smoothed_edges_of_colors_are_not_classes(tmp_path: Path) -> None:
    """A blend of two colors may be a third one's color, so it is not labeled."""
    mask = np.zeros((96, 128, 3), np.uint8)
    cv2.circle(mask, (64, 48), 30, (250, 30, 0), -1)
    cv2.rectangle(mask, (0, 0), (20, 95), (0, 200, 40), -1)
    draw(tmp_path, [cv2.GaussianBlur(mask, (0, 0), 1.0)] * 2)

    assert [color for _, color in proposed(tmp_path)] == [(0, 0, 0), (0, 200, 40), (250, 30, 0)]
    read = splits(tmp_path)[0][0].mask
    assert [read[48, 5], read[0, 100], read[48, 64]] == [1, 0, 2]
    assert 0 < (read == 255).mean() < 0.1


def test_thin_classes_are_not_blends(tmp_path: Path) -> None:
    """Cracks and lane markings are a pixel wide, as smoothed edges are, but have close ids."""
    mask = np.zeros((96, 128), np.uint8)
    mask[:, 40:] = 3
    mask[20, :], mask[:, 90] = 1, 2
    draw(tmp_path, [mask] * 2)

    assert [name for name, _ in proposed(tmp_path)] == ["class_0", "class_1", "class_2", "class_3"]


def test_gray_photographs_are_not_masks(tmp_path: Path) -> None:
    """They would become 200 classes."""
    draw(tmp_path, [np.random.default_rng(0).integers(20, 220, (60, 60), dtype=np.uint8)])

    with pytest.raises(DataError, match=r"1 of 1 masks hold 200 values and hardly a flat area"):
        propose_class_map(tmp_path)


def test_ids_of_16_bits_are_read(tmp_path: Path) -> None:
    """Annotation tools write them, and the ids are small."""
    draw(tmp_path, [np.array([[3, 7], [255, 7]], np.uint16)] * 2)

    assert [name for name, _ in proposed(tmp_path)] == ["class_3", "class_7"]
    assert splits(tmp_path)[0][0].mask.tolist() == [[0, 1], [255, 1]]


def test_larger_ids_of_16_bits_are_reported(tmp_path: Path) -> None:
    """Their bytes would be read as colors."""
    draw(tmp_path, [np.array([[0, 26001]], np.uint16)])

    with pytest.raises(
        DataError,
        match=(
            r"0\.png holds numbers from 0 to 26001, and the id of a class is within 0 and 255; save"
        ),
    ):
        propose_class_map(tmp_path)


@pytest.mark.parametrize("length", [0, 7, 60])
def test_damaged_mask_is_reported(tmp_path: Path, length: int) -> None:
    """Empty, cut within the signature, and cut within the pixels."""
    draw(tmp_path, [np.random.default_rng(0).integers(0, 9999, (32, 32), dtype=np.uint16)])
    mask = tmp_path / "masks/0.png"
    mask.write_bytes(mask.read_bytes()[:length])

    with pytest.raises(DataError, match=r"0\.png"):
        propose_class_map(tmp_path)
