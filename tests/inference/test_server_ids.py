"""Answers are written as the evaluation servers read them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy.card import InputSpec, ModelCard
from segdeploy.cli.main import main
from segdeploy.datasets.formats.ade20k import to_original_ids
from segdeploy.datasets.formats.cityscapes import CLASSES, ORIGINAL
from segdeploy.errors import ConfigError
from segdeploy.inference.evaluation import ids_writer
from segdeploy.models.checkpoint import Checkpoint, save_checkpoint
from segdeploy.models.registry import build

NAME = "berlin_000000_000019"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network with Cityscapes' classes."""
    path = tmp_path_factory.mktemp("model") / "best.pt"
    arguments = {"width": 8, "depth": 2}
    card = ModelCard(
        architecture="unet",
        arguments=arguments,
        classes=CLASSES,
        input=InputSpec(height=16, width=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    )
    save_checkpoint(
        path, Checkpoint(card=card, weights=build("unet", 19, **arguments).state_dict(), state={})
    )
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A test split of one image."""
    path = tmp_path / "data/leftImg8bit/test/berlin" / f"{NAME}_leftImg8bit.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8))
    return tmp_path / "data"


@pytest.mark.slow
def test_eval_writes_original_ids_of_a_split_without_truth(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file an image, at its size, named as the server matches them.

    And no scores are made up.
    """
    out = tmp_path / "out"

    main(
        [
            "eval",
            str(model),
            "--dataset",
            "cityscapes",
            "--data",
            str(data),
            "--split",
            "test",
            "--device",
            "cpu",
            "--save-ids",
            str(out),
        ]
    )

    ids = cv2.imread(str(out / f"{NAME}.png"), cv2.IMREAD_UNCHANGED)
    assert ids.shape == (20, 40)
    assert set(np.unique(ids)) <= set(ORIGINAL)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "has no truth, so there are no scores" in captured.err


def test_ade20k_counts_from_one() -> None:
    """0 is what is not labeled there."""
    assert to_original_ids(np.array([[0, 149, 255]], np.uint8)).tolist() == [[1, 150, 0]]


def test_data_set_without_a_server_is_refused(tmp_path: Path) -> None:
    """Before anything is computed."""
    with pytest.raises(
        ConfigError,
        match="'camvid' has no ids for an evaluation server; --save-ids knows ade20k, cityscapes",
    ):
        ids_writer("camvid", tmp_path)
