"""Data of a run: its splits, a second dataset with coarse labels, weights of the classes."""

import tomllib
from collections.abc import Sequence
from dataclasses import replace as replace_fields
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from segdeploy import datasets
from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample
from segdeploy.errors import ConfigError, DataError
from segdeploy.models.checkpoint import load_checkpoint, save_checkpoint
from segdeploy.models.registry import build
from segdeploy.train.data import (
    CoarseLabels,
    ConcatDataset,
    Subset,
    check_labels,
    class_weights,
    open_run_splits,
    without_augmentation,
)
from segdeploy.train.recipe import Recipe
from segdeploy.train.run_setup import build_card
from segdeploy.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


OURS = tuple(LabelClass(name=name, color=(0, 0, 0)) for name in ("Road", "Car", "Bicyclist", "Sky"))
COVERED = {"drivable": ["Road"], "vehicles": ["Car", "Bicyclist"], "living things": ["Bicyclist"]}


class CoarseDataset:
    """One image whose mask has every class, one that is not labeled at the end."""

    classes = tuple(
        LabelClass(name=name, color=(0, 0, 0))
        for name in ("drivable", "vehicles", "living things", "walls", "Sky")
    )
    names: Sequence[str] = ("one",)
    rule = "as the folders say"

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return Sample(
            image=np.zeros((1, 6, 3), np.uint8),
            mask=np.array([[0, 1, 2, 3, 4, 255]], np.uint8),
            name=self.names[index],
        )


def test_masks_hold_classes_and_coarse_classes_behind_them() -> None:
    """One covered class is that class, equal names match, and what is left out is not labeled."""
    coarse = CoarseLabels(CoarseDataset(), OURS, COVERED)

    assert coarse.coarse_classes == ((1, 2),)
    assert coarse[0].mask.tolist() == [[0, 4, 2, 255, 3, 255]]
    assert coarse.classes == OURS
    assert list(coarse.names) == ["one"]


@pytest.mark.parametrize(
    ("covered", "message"),
    [
        ({"vehicle": ["Car"]}, "'vehicle'.*drivable, vehicles"),
        ({"vehicles": ["Cart"]}, "'Cart'.*Road, Car"),
    ],
    ids=["theirs", "ours"],
)
def test_unknown_names_are_errors(covered: dict[str, list[str]], message: str) -> None:
    """A mistyped name would leave a class without labels."""
    with pytest.raises(ConfigError, match=message):
        CoarseLabels(CoarseDataset(), OURS, covered)


def test_second_dataset_without_a_common_class_is_an_error() -> None:
    """None of its pixels would be labeled."""
    with pytest.raises(ConfigError, match="give coarse_classes"):
        CoarseLabels(CoarseDataset(), OURS[:1], {})


def test_own_images_are_repeated(tiny_camvid: Path) -> None:
    """Beside a large second dataset a small one would have little weight.

    Each of its images is still read once.
    """
    recipe = Recipe(
        dataset="camvid",
        data=str(tiny_camvid),
        extra_dataset="camvid",
        extra_data=str(tiny_camvid),
        repeat=3,
    )
    own = len(open_run_splits(replace(recipe, extra_dataset="", repeat=1), cache_bytes=0).train)

    splits = open_run_splits(recipe, cache_bytes=1e6)

    extra = len(splits.train) - 3 * own
    assert extra == own
    assert splits.coarse_classes == ()
    assert [splits.train[index].name for index in (0, own, 2 * own)] == [splits.train.names[0]] * 3
    assert splits.train[3 * own].name == splits.train.names[3 * own]
    assert isinstance(splits.train, ConcatDataset)


@pytest.mark.slow
def test_run_learns_from_a_second_dataset(tiny_camvid: Path, tmp_path: Path) -> None:
    """Coarse classes reach the loss, and a recipe with them is written and read."""
    covered = {"Sky": ["Tree", "Sky"]}
    base = Recipe(
        dataset="camvid",
        data=str(tiny_camvid),
        extra_dataset="camvid",
        extra_data=str(tiny_camvid),
        coarse_classes=covered,
        repeat=2,
    )
    recipe = replace(
        base,
        arguments={"width": 4, "depth": 1},
        imgsz=(32, 48),
        epochs=1,
        amp=False,
        workers=0,
        device="cpu",
        threads=1,
    )

    run = Trainer(recipe)
    run.fit(tmp_path, report=lambda _: None)

    assert run.history[0].loss > 0
    read = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert Recipe.from_dict(read, source="it") == recipe


@pytest.mark.slow
def test_teacher_changes_the_weights(tiny_camvid: Path, tmp_path: Path) -> None:
    """Its output is part of the loss.

    A teacher with other classes is refused before the first step.
    """
    covered = {"Sky": ["Tree", "Sky"]}
    base = Recipe(
        dataset="camvid",
        data=str(tiny_camvid),
        extra_dataset="camvid",
        extra_data=str(tiny_camvid),
        coarse_classes=covered,
    )
    recipe = replace(
        base,
        arguments={"width": 4, "depth": 1},
        imgsz=(32, 48),
        epochs=1,
        workers=0,
        device="cpu",
        threads=1,
    )
    alone, teacher, stranger = (tmp_path / name for name in ("alone", "teacher", "stranger"))
    for folder in (alone, teacher, stranger):
        folder.mkdir()
    first = Trainer(recipe)
    first.fit(alone, report=lambda _: None)
    Trainer(
        replace(recipe, dataset="streets", data="", extra_dataset="", coarse_classes={}, overfit=2)
    ).fit(stranger, report=lambda _: None)

    taught = Trainer(replace(recipe, teacher=str(alone / "best.pt")))
    taught.fit(teacher, report=lambda _: None)

    assert taught.history[0].loss != first.history[0].loss
    card = load_checkpoint(stranger / "best.pt").card
    other = replace(card, classes=(*card.classes[:-1], LabelClass(name="Cow", color=(1, 2, 3))))
    save_checkpoint(
        stranger / "best.pt", replace_fields(load_checkpoint(stranger / "best.pt"), card=other)
    )
    with pytest.raises(ConfigError, match="Cow"):
        Trainer(replace(recipe, teacher=str(stranger / "best.pt")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"teacher": "best.pt"},
        {"coarse_classes": {"a": ["b"]}},
        {"repeat": 2},
        {"extra_dataset": "streets", "coarse_classes": {"a": "b"}},
    ],
)
def test_recipe_refuses_values_without_effect(wrong: dict[str, object]) -> None:
    """Coarse classes, a teacher and repetitions need a second dataset."""
    with pytest.raises(ConfigError, match="must be"):
        Recipe.from_dict(wrong, source="a recipe")


class Labeled(CoarseDataset):
    """A hundred images, each of which shows some classes; it counts how many are read."""

    names = tuple(map(str, range(100)))

    def __init__(self, *masks: int) -> None:
        self._masks = masks
        self.read = 0

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        self.read += 1
        sample = super().__getitem__(index)
        mask = np.full((1, 6), self._masks[index % len(self._masks)], np.uint8)
        return replace_fields(sample, mask=mask)


@pytest.mark.parametrize(
    ("masks", "sentence"),
    [
        ((255,), "no pixel of any of the 100 images to train on is labeled, so there is nothing"),
        ((255, 1), "every labeled pixel of all 100 images to train on is of one class, 'vehicles'"),
    ],
)
def test_images_without_two_classes_are_refused(masks: tuple[int, ...], sentence: str) -> None:
    """They once trained to an mIoU of 1.0000, however many there are."""
    with pytest.raises(DataError, match=sentence):
        check_labels(Labeled(*masks), "to train on")


def test_two_classes_are_found_in_a_few_images() -> None:
    """A start does not read the whole dataset."""
    samples = Labeled(0, 0, 1)

    check_labels(samples, "to train on")

    assert samples.read < 20


def test_overfit_splits_are_the_first_images_of_the_training_split(tiny_camvid: Path) -> None:
    """A network that cannot overfit them cannot learn."""
    recipe = Recipe(dataset="camvid", data=str(tiny_camvid), overfit=4)
    names = list(datasets.load("camvid", tiny_camvid, "train").names)[:4]

    splits = open_run_splits(recipe, cache_bytes=0)
    train, val = splits.train, splits.val

    assert list(train.names) == list(val.names) == names
    assert len(train) == 4
    assert train[3].name == names[3]
    assert train.rule == "the first 4 of the training split, also to validate"


def test_final_weights_are_trained_on_both_splits(tiny_camvid: Path) -> None:
    """Validation stays the same, and the card says that the score is not of unseen images."""
    recipe = Recipe(dataset="camvid", data=str(tiny_camvid), final=True)
    first, second = (datasets.load("camvid", tiny_camvid, split) for split in ("train", "val"))

    splits = open_run_splits(recipe, cache_bytes=0)
    train, val = splits.train, splits.val

    assert list(train.names) == [*first.names, *second.names]
    assert [train[index].name for index in range(len(train))] == [*first.names, *second.names]
    assert list(val.names) == list(second.names)
    card = build_card(recipe, build("unet", 11, width=4, depth=1), train, val)
    assert card.training is not None
    assert card.training.split == "all images are trained on, also those of the validation split"


def test_subset_has_no_more_than_the_dataset(tiny_camvid: Path) -> None:
    """Twelve images are twelve."""
    assert len(Subset(datasets.load("camvid", tiny_camvid, "train"), 100)) == 12


def test_images_are_not_augmented() -> None:
    """Whatever the recipe does to them otherwise; all else stays."""
    recipe = Recipe(
        scale=(0.5, 2.0), max_share=0.75, flip=0.5, color=0.3, hue=0.1, blur=0.5, lr=0.5
    )

    assert without_augmentation(recipe) == replace(
        recipe, scale=(1.0, 1.0), max_share=1.0, flip=0.0, color=0.0, hue=0.0, blur=0.0
    )


class Quarter:
    """A dataset of one image.

    A quarter of its labeled pixels is of class 1, some are not labeled.
    """

    rule = ""
    classes = (
        LabelClass(name="much", color=(0, 0, 0)),
        LabelClass(name="little", color=(255, 0, 0)),
    )
    names: Sequence[str] = ("one",)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        mask = np.array([[0, 0, 0, 1, 255]], np.uint8)
        return Sample(image=np.zeros((1, 5, 3), np.uint8), mask=mask, name="one")


def weigh(samples: Quarter, method: str) -> list[float]:
    weights = class_weights(samples, method)
    assert weights is not None
    return [float(weight) for weight in weights]


def test_rare_class_weighs_as_in_enet() -> None:
    """1 / ln(1.02 + 3/4) = 1.7513 and 1 / ln(1.02 + 1/4) = 4.1838.

    Their mean over the pixels, 2.3594, becomes 1.
    """
    much, little = weigh(Quarter(), "inverse-log")

    assert (much, little) == (
        pytest.approx(1.7513 / 2.3594, abs=1e-3),
        pytest.approx(4.1838 / 2.3594, abs=1e-3),
    )


class Pair(Quarter):
    """Two images of four labeled pixels: the second has no class 1, and class 2 never occurs."""

    classes = (*Quarter.classes, LabelClass(name="never", color=(0, 255, 0)))
    names = ("one", "two")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        mask = np.array([[0, 0, 0, index == 0, 255]], np.uint8)
        return Sample(image=np.zeros((1, 5, 3), np.uint8), mask=mask, name=str(index))


def test_median_frequency_counts_only_images_that_show_a_class() -> None:
    """Class 0 is 7 of 8, class 1 is 1 of the 4 of its one image.

    Their median is 9/16: weights 9/14 and 9/4, 1 for what never occurs.

    Their mean over the pixels, 7/8 * 9/14 + 1/8 * 9/4 = 27/32, becomes 1.
    """
    much, little, never = weigh(Pair(), "median-frequency")

    assert (much, little, never) == pytest.approx((9 / 14 * 32 / 27, 9 / 4 * 32 / 27, 32 / 27))


def test_no_weights_read_no_image() -> None:
    """Equal weights need no counts."""
    assert class_weights(Pair(), "none") is None
