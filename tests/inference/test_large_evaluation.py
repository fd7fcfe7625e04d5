"""`eval --tile` scores the masks that `run --tile` writes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rasterio")

from segdeploy.datasets.dataset import JoinedDataset
from segdeploy.datasets.registry import load
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.overlay import Renderer
from segdeploy.inference.label_map import ClassMapping
from segdeploy.inference.large_evaluation import evaluate_large
from segdeploy.inference.large_images import LargeJob, segment_large
from segdeploy.inference.tiling import Tiler
from segdeploy.metrics.segmentation import ConfusionMatrix
from tests.helpers.backends import ChannelBackend
from tests.helpers.cards import make_card
from tests.helpers.maps import blobs, read_map, write_map

CARD = make_card(48, 48, classes=("red", "green", "blue"), dynamic=True)
TILER = Tiler(ChannelBackend(CARD), height=48, width=48, overlap=12)
CLASSES = """
[[classes]]
name = "red"
[[classes]]
name = "green"
[[classes]]
name = "blue"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two maps, one of which has a gap, with labels that are not quite their colors."""
    (tmp_path / "classes.toml").write_text(CLASSES)
    for split in ("train", "val"):
        for side in ("images", "masks"):
            (tmp_path / split / side).mkdir(parents=True)
        labels = blobs(130, 110, 3, seed=len(split))
        pixels = np.eye(3, dtype=np.uint8)[np.roll(labels, 3, axis=0)] * 90 + 20
        pixels[40:60, 30:50] = 0
        write_map(tmp_path / split / "images" / f"{split}.tif", pixels, nodata=0)
        cv2.imwrite(str(tmp_path / split / "masks" / f"{split}.png"), labels)
    return tmp_path


def test_scores_are_those_of_the_written_masks(folder: Path, tmp_path: Path) -> None:
    """Pixels without data are not counted."""
    image = folder / "val" / "images" / "val.tif"
    target = tmp_path / "mask.tif"
    segment_large(image, {"mask": target}, LargeJob(tiler=TILER, renderer=Renderer(CARD.classes)))
    mask = read_map(target)[:, :, 0]
    labels = blobs(130, 110, 3, seed=3)
    counts = ConfusionMatrix(3)
    counts.add(mask, np.where(mask == 255, 255, labels).astype(np.uint8))
    steps: list[str] = []

    scores = evaluate_large(TILER, load("folder", folder, "val"), on_step=steps.append)

    assert scores == counts.scores()
    assert scores.pixels == 130 * 110 - 20 * 20
    assert 0.5 < scores.miou < 0.99
    assert steps == ["val"]


def test_splits_are_joined_and_classes_mapped(folder: Path) -> None:
    """As for whole images."""
    both = JoinedDataset({split: load("folder", folder, split) for split in ("train", "val")})
    steps: list[str] = []

    scores = evaluate_large(
        TILER, both, mapping=ClassMapping(indices=(1, 0, 2), classes=3), on_step=steps.append
    )

    assert steps == ["train", "val"]
    assert scores.pixels == 2 * (130 * 110 - 20 * 20)
    assert scores.miou < 0.6


def test_what_cannot_be_scored_is_refused(folder: Path) -> None:
    """One sentence each."""
    with pytest.raises(ConfigError, match="leave out --tile"):
        evaluate_large(TILER, load("streets", None, "val"), on_step=str)
    cv2.imwrite(str(folder / "val" / "masks" / "val.png"), np.zeros((9, 8), np.uint8))
    with pytest.raises(DataError, match="the labels of val are 8x9 but its image is 110x130"):
        evaluate_large(TILER, load("folder", folder, "val"), on_step=str)
