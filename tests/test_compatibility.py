"""Files of earlier versions are still read.

They are in tests/data/first_format; commit 80fa947 wrote them.
"""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import segdeploy
from segdeploy.backends.loading import read_card
from tests.helpers.cli import run_cli

FOLDER = Path(__file__).parent / "data" / "first_format"
EXPORTED = ("best.onnx", "best.torchscript", "best.pt2", "best.xml")
NEEDS = {".xml": "openvino", ".pt": "torch", ".torchscript": "torch", ".pt2": "torch"}


def image() -> np.ndarray:
    """Return the image that mask.png belongs to, (32, 48, 3) uint8 BGR."""
    row, column = np.mgrid[:32, :48]
    planes = (5 * column % 256, 7 * row % 256, (3 * column + 11 * row) % 256)
    return np.stack(planes, 2).astype(np.uint8)


@pytest.mark.parametrize("name", ["best.pt", *EXPORTED])
def test_older_artifact_gives_the_same_mask(name: str) -> None:
    """The masks stay the same; 3 of 1,536 pixels may be ties that processors round differently."""
    pytest.importorskip(NEEDS.get(Path(name).suffix, "onnxruntime"))
    expected = cv2.imread(str(FOLDER / "mask.png"), cv2.IMREAD_GRAYSCALE)

    mask = segdeploy.load(FOLDER / name, device="cpu", threads=1)(image()).mask

    assert np.mean(mask == expected) >= 0.998


@pytest.mark.parametrize("name", [*EXPORTED, "best-int8.onnx", "triton-model.onnx"])
def test_older_exported_file_verifies(name: str) -> None:
    """The stored output and the checksum are those of the file."""
    pytest.importorskip(NEEDS.get(Path(name).suffix, "onnxruntime"))

    assert run_cli("verify", FOLDER / name) == 0


@pytest.mark.parametrize("name", ["best.pt", *EXPORTED, "best-int8.onnx"])
def test_older_card_is_read_completely(name: str) -> None:
    """A card is read whole: the training, the scores, and how an export was proven."""
    pytest.importorskip(NEEDS.get(Path(name).suffix, "onnxruntime"))

    card = read_card(FOLDER / name)

    assert card.architecture == "unet"
    assert len(card.classes) == 11
    assert card.training is not None
    assert card.training.recipe["dataset"] == "streets"
    assert card.scores is not None
    assert (card.parity is None) == (name == "best.pt")


def test_older_report_is_a_baseline_and_part_of_a_history(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gate can compare with an older report."""
    (tmp_path / "old").mkdir()
    shutil.copy(FOLDER / "report.json", tmp_path / "old")

    assert run_cli("benchmark", "--history", tmp_path / "old", "--output", tmp_path / "page") == 0

    page = (tmp_path / "page" / "history.html").read_text(encoding="utf-8")
    assert "best.onnx" in page
    assert "left out" not in capsys.readouterr().err


def test_older_recipe_is_read() -> None:
    """A recipe.toml beside a run repeats the run."""
    from segdeploy.train.recipe import Recipe
    from segdeploy.train.recipe_file import read_recipe

    recipe = Recipe.from_dict(read_recipe(str(FOLDER / "recipe.toml")), source="recipe.toml")

    assert (recipe.model, recipe.dataset, recipe.imgsz, recipe.epochs) == (
        "unet",
        "streets",
        (32, 48),
        2,
    )


@pytest.mark.slow
def test_older_training_is_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was interrupted in its last epoch, the 58th; it is finished, with the history of all
    epochs."""
    pytest.importorskip("torch")
    for name in ("last.pt", "best.pt"):
        shutil.copy(FOLDER / name, tmp_path / name)

    assert run_cli("train", "--resume", tmp_path / "last.pt") == 0

    rows = (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 58
    assert "epoch  58/58" in capsys.readouterr().out.replace("epoch 58/58", "epoch  58/58")
    trained = read_card(tmp_path / "best.pt")
    assert trained.architecture == "unet"


def test_keys_of_a_card_are_those_that_other_programs_read() -> None:
    """Programs in other languages read the card as JSON; its first version is a promise."""
    values = json.loads(read_card(FOLDER / "best.onnx").to_json())

    assert set(values) == {
        *("architecture", "arguments", "classes", "confidence", "conversion", "input", "output"),
        *("parity", "precision", "schema", "scores", "training"),
    }
