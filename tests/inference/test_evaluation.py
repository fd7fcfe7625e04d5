"""A dataset's scores are those of its images at their own size; masks become a server's ids."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample
from segdeploy.datasets.formats.ade20k import to_original_ids
from segdeploy.datasets.formats.cityscapes import CLASSES as CITYSCAPES_CLASSES
from segdeploy.datasets.formats.cityscapes import ORIGINAL
from segdeploy.errors import ConfigError, DataError
from segdeploy.inference.evaluation import class_name_warning, evaluate, ids_writer
from segdeploy.inference.predictor import Predictor
from segdeploy.models.checkpoint import Checkpoint, save_checkpoint
from segdeploy.models.registry import build
from tests.helpers.cards import make_card
from tests.helpers.cli import run_cli

CLASSES = (LabelClass(name="dark", color=(0, 0, 0)), LabelClass(name="red", color=(255, 0, 0)))

CITYSCAPES_NAME = "berlin_000000_000019"


class LastClassBackend:
    """A backend that returns the last class everywhere, and records the sizes of its batches."""

    device = "test"

    def __init__(self, classes: Sequence[LabelClass] = CLASSES) -> None:
        self.card = make_card(8, 8, classes=classes)
        self.batches: list[int] = []

    def run(self, batch: Batch) -> NetworkOutput:
        self.batches.append(len(batch))
        logits = np.zeros((len(batch), len(self.card.classes), 8, 8), np.float32)
        logits[:, -1] = 1
        return logits


class MaskDataset:
    """A dataset in memory: masks of any sizes, with black images."""

    def __init__(self, *masks: list[list[int]]) -> None:
        self.classes = CLASSES
        self.masks = [np.asarray(mask, np.uint8) for mask in masks]
        self.names = [f"image {index}" for index in range(len(masks))]

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, index: int) -> Sample:
        mask = self.masks[index]
        return Sample(image=np.zeros((*mask.shape, 3), np.uint8), mask=mask, name=self.names[index])


@pytest.mark.parametrize(("batch", "batches"), [(1, [1, 1, 1]), (2, [2, 1]), (5, [3])])
def test_every_image_counts_once(batch: int, batches: list[int]) -> None:
    """3 of 4 labeled pixels are red, and class 0 is never predicted; the batch changes nothing."""
    dataset = MaskDataset([[1, 1]], [[0], [255]], [[1, 255, 255]])
    backend = LastClassBackend()
    steps: list[str] = []

    scores = evaluate(Predictor(backend), dataset, batch=batch, on_step=steps.append)

    assert scores.iou == (0.0, 0.75)
    assert scores.pixels == 4
    assert backend.batches == batches
    assert steps == ["image 0", "image 1", "image 2"]


def test_other_number_of_classes_is_refused() -> None:
    """A score over classes of another meaning is worse than none."""
    backend = LastClassBackend((*CLASSES, LabelClass(name="blue", color=(0, 0, 255))))

    with pytest.raises(DataError, match="the network has 3 classes and the dataset 2"):
        evaluate(Predictor(backend), MaskDataset([[1]]), on_step=str)

    assert backend.batches == []


def test_class_of_another_name_gives_a_warning() -> None:
    """Two datasets of two classes match in number, and may mean different things."""
    classes = (CLASSES[0], LabelClass(name="rouge", color=(255, 0, 0)))

    warning = class_name_warning(classes, CLASSES)

    assert "the network's class 'rouge' is compared with 'red' of the dataset" in warning
    assert class_name_warning(CLASSES, CLASSES) == ""
    assert class_name_warning(CLASSES[1:], CLASSES) == ""


def test_empty_dataset_is_refused() -> None:
    """A score of 0 would look like a bad network."""
    with pytest.raises(DataError, match="holds no image"):
        evaluate(Predictor(LastClassBackend()), MaskDataset(), on_step=str)


def test_label_beyond_the_classes_is_refused_with_the_name_of_the_image() -> None:
    """One of hundreds of images must be named to be found."""
    with pytest.raises(DataError, match=r"image 1: .* class 2"):
        evaluate(Predictor(LastClassBackend()), MaskDataset([[1]], [[2]]), on_step=str)


@pytest.fixture(scope="module")
def cityscapes_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network with the classes of Cityscapes."""
    path = tmp_path_factory.mktemp("model") / "best.pt"
    arguments = {"width": 8, "depth": 2}
    card = make_card(16, 32, classes=CITYSCAPES_CLASSES, arguments=arguments)
    weights = build("unet", len(CITYSCAPES_CLASSES), **arguments).state_dict()
    save_checkpoint(path, Checkpoint(card=card, weights=weights, state={}))
    return path


@pytest.fixture
def cityscapes_test_split(tmp_path: Path) -> Path:
    """A folder with one image without labels."""
    folder = tmp_path / "data/leftImg8bit/test/berlin"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / f"{CITYSCAPES_NAME}_leftImg8bit.png"), pixels)
    return tmp_path / "data"


@pytest.mark.slow
def test_eval_writes_original_ids_of_a_split_without_labels(
    cityscapes_model: Path,
    cityscapes_test_split: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One file per image, of its size and with the name that the server expects, and no scores."""
    out = tmp_path / "out"

    run_cli(
        *("eval", cityscapes_model, "--dataset", "cityscapes", "--data", cityscapes_test_split),
        *("--split", "test", "--device", "cpu", "--save-ids", out),
    )

    ids = cv2.imread(str(out / f"{CITYSCAPES_NAME}.png"), cv2.IMREAD_UNCHANGED)
    assert ids is not None
    assert ids.shape == (20, 40)
    assert set(np.unique(ids)) <= set(ORIGINAL)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "so there are no scores" in captured.err


def test_ade20k_counts_from_one() -> None:
    """There 0 is the id of unlabeled pixels."""
    assert to_original_ids(np.array([[0, 149, 255]], np.uint8)).tolist() == [[1, 150, 0]]


def test_dataset_without_a_server_is_refused(tmp_path: Path) -> None:
    """Before anything is computed."""
    with pytest.raises(
        ConfigError,
        match=r"'camvid' has no ids for .* server; --save-ids supports ade20k, cityscapes",
    ):
        ids_writer("camvid", tmp_path)
