"""The check that learning works at all."""

from dataclasses import replace
from pathlib import Path

from segdeploy import datasets
from segdeploy.models.registry import build
from segdeploy.train.data import Subset, open_both, unchanged
from segdeploy.train.recipe import Recipe
from segdeploy.train.run_setup import make_card


def test_both_splits_are_the_first_pictures_of_the_training_split(tiny_camvid: Path) -> None:
    """A network that cannot learn them by heart cannot learn."""
    recipe = Recipe(dataset="camvid", data=str(tiny_camvid), overfit=4)
    names = list(datasets.load("camvid", tiny_camvid, "train").names)[:4]

    splits = open_both(recipe, room=0)
    train, val = splits.train, splits.val

    assert list(train.names) == list(val.names) == names
    assert len(train) == 4
    assert train[3].name == names[3]
    assert train.rule == "the first 4 of the training split, also to validate"


def test_final_weights_learn_from_both_splits(tiny_camvid: Path) -> None:
    """Validation stays what it was, and the card cannot pass the score off as one of unseen
    images.
    """
    recipe = Recipe(dataset="camvid", data=str(tiny_camvid), final=True)
    first, second = (datasets.load("camvid", tiny_camvid, split) for split in ("train", "val"))

    splits = open_both(recipe, room=0)
    train, val = splits.train, splits.val

    assert list(train.names) == [*first.names, *second.names]
    assert [train[index].name for index in range(len(train))] == [*first.names, *second.names]
    assert list(val.names) == list(second.names)
    card = make_card(recipe, build("unet", 11, width=4, depth=1), train, val)
    assert card.training is not None
    assert (
        card.training.split == "all images are learned from, also those that it is validated with"
    )


def test_no_more_than_there_are(tiny_camvid: Path) -> None:
    """Twelve images are twelve."""
    assert len(Subset(datasets.load("camvid", tiny_camvid, "train"), 100)) == 12


def test_pictures_are_shown_as_they_are() -> None:
    """Whatever the recipe does to them otherwise; all else stays."""
    recipe = Recipe(
        scale=(0.5, 2.0), max_share=0.75, flip=0.5, color=0.3, hue=0.1, blur=0.5, lr=0.5
    )

    assert unchanged(recipe) == replace(
        recipe, scale=(1.0, 1.0), max_share=1.0, flip=0.0, color=0.0, hue=0.0, blur=0.0
    )
