"""`segdeploy data init` looks at masks and writes a classes.toml that reads them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segdeploy import datasets
from segdeploy.commands.data_init import init
from segdeploy.datasets.legend import read_legend
from segdeploy.datasets.proposal import propose
from segdeploy.errors import ConfigError, DataError


def draw(data: Path, masks: list[np.ndarray], ending: str = "png") -> None:
    """Write black pictures with these masks."""
    for folder in ("images", "masks"):
        (data / folder).mkdir(exist_ok=True)
    for number, mask in enumerate(masks):
        Image.new("RGB", mask.shape[1::-1]).save(data / f"images/{number}.png")
        Image.fromarray(mask).save(data / f"masks/{number}.{ending}")


def proposed(data: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """Write what is proposed, and give the names and colors that are read from it."""
    (data / "classes.toml").write_text(propose(data), encoding="utf-8")
    return [(entry.name, entry.color) for entry in read_legend(data / "classes.toml").classes]


def test_numbers_become_classes_and_255_is_ignored(tmp_path: Path) -> None:
    """What was proposed reads the masks as they are."""
    draw(tmp_path, [np.array([[3, 7, 255]], np.uint8), np.array([[7, 9, 9]], np.uint8)])

    names = [name for name, _ in proposed(tmp_path)]

    assert names == ["class_3", "class_7", "class_9"]
    masks = {name: files[index].mask.tolist() for files in splits(tmp_path) for index, name in enumerate(files.names)}
    assert masks == {"0": [[0, 1, 255]], "1": [[1, 2, 2]]}


def splits(data: Path) -> list[datasets.Dataset]:
    """Both splits of the folder."""
    return [datasets.load("folder", data, split) for split in ("train", "val")]


@pytest.mark.parametrize("white", [1, 255])
def test_black_and_white_is_background_and_foreground(white: int, tmp_path: Path) -> None:
    """The commonest masks of all; 255 is a class there."""
    draw(tmp_path, [np.array([[0, white]], np.uint8)] * 2)

    assert [name for name, _ in proposed(tmp_path)] == ["background", "foreground"]
    assert splits(tmp_path)[0][0].mask.tolist() == [[0, 1]]


def test_palette_gives_the_colors(tmp_path: Path) -> None:
    """Whoever chose colors wants to see them again."""
    draw(tmp_path, [np.zeros((2, 2), np.uint8)])
    image = Image.fromarray(np.array([[0, 2]], np.uint8), "P")
    image.putpalette([0, 0, 0, 9, 9, 9, 250, 0, 10])
    image.save(tmp_path / "masks/0.png")

    assert proposed(tmp_path) == [("class_0", (0, 0, 0)), ("class_2", (250, 0, 10))]


def test_colors_become_classes(tmp_path: Path) -> None:
    """Each color is one, and is read exactly."""
    draw(tmp_path, [np.array([[(255, 0, 0), (0, 0, 255)]], np.uint8), np.array([[(0, 255, 0), (255, 0, 0)]], np.uint8)])

    assert proposed(tmp_path) == [("class_0", (0, 0, 255)), ("class_1", (0, 255, 0)), ("class_2", (255, 0, 0))]
    masks = {name: files[index].mask.tolist() for files in splits(tmp_path) for index, name in enumerate(files.names)}
    assert masks == {"0": [[2, 0]], "1": [[1, 2]]}


def test_jpeg_masks_give_their_main_colors(tmp_path: Path) -> None:
    """Hundreds of colors are two, and the proposal tells what is wrong with them."""
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[16:48, 16:48] = (0, 120, 240)
    draw(tmp_path, [np.zeros((64, 64, 3), np.uint8)] * 2)
    for number in range(2):
        (tmp_path / f"masks/{number}.png").unlink()
        cv2.imwrite(str(tmp_path / f"masks/{number}.jpg"), mask)

    text = propose(tmp_path)

    assert "JPEG has changed: save masks as PNG" in text
    colors = [color for _, color in proposed(tmp_path)]
    assert len(colors) == 2
    np.testing.assert_allclose(colors, [(0, 0, 0), (240, 120, 0)], atol=6)
    read = splits(tmp_path)[0][0].mask
    assert (read[20:44, 20:44] == 1).all()
    assert (read[:8] == 0).all()


def test_photographs_are_no_masks(tmp_path: Path) -> None:
    """Folders that were mixed up."""
    draw(tmp_path, [np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)])

    with pytest.raises(DataError, match=r"1 of 1 masks hold \d+ colors, which is more than classes can be"):
        propose(tmp_path)


def test_labels_of_labelme_are_collected(tmp_path: Path) -> None:
    """Whatever letters a label has; those that labelme's converters know by themselves are left out."""
    for name, label in (("a", 'car "old"'), ("b", "bücher\x7f"), ("c", "__ignore__")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"shapes": [{"label": label, "points": []}]}))

    assert [name for name, _ in proposed(tmp_path)] == ["background", "bücher\x7f", 'car "old"']


def test_categories_of_coco_are_collected(tmp_path: Path) -> None:
    """To be grouped by whoever wants fewer."""
    (tmp_path / "images").mkdir()
    content = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "bus"}, {"id": 3, "name": "car"}]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))

    assert [name for name, _ in proposed(tmp_path)] == ["background", "car", "bus"]


def test_nothing_to_look_at_is_told(tmp_path: Path) -> None:
    """With what was looked for."""
    with pytest.raises(DataError, match="there are no masks in masks, masks/train, train/masks"):
        propose(tmp_path)


def test_command_writes_once(tmp_path: Path) -> None:
    """Names that somebody gave are never lost, unless --force says so."""
    draw(tmp_path, [np.array([[3, 7]], np.uint8)])

    first = CliRunner().invoke(init, [str(tmp_path)])
    second = CliRunner().invoke(init, [str(tmp_path)])
    third = CliRunner().invoke(init, [str(tmp_path), "--force"])

    assert first.exit_code == third.exit_code == 0
    assert first.stdout == (tmp_path / "classes.toml").read_text()
    assert isinstance(second.exception, ConfigError)
