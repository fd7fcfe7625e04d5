"""A helper teaches what it knows: that a pixel is of one of several classes."""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import structs

from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample
from segdeploy.errors import ConfigError
from segdeploy.models.checkpoint import load_checkpoint, save_checkpoint
from segdeploy.train.data import CoarseLabels, ConcatDataset, open_both
from segdeploy.train.losses import cross_entropy, one_of_several
from segdeploy.train.objective import Objective
from segdeploy.train.recipe import Recipe
from segdeploy.train.trainer import Run

OURS = tuple(LabelClass(name=name, color=(0, 0, 0)) for name in ("Road", "Car", "Bicyclist", "Sky"))
UNIONS = {"drivable": ["Road"], "vehicles": ["Car", "Bicyclist"], "living things": ["Bicyclist"]}


class Helper:
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


def test_masks_hold_classes_of_ours_and_unions_behind_them() -> None:
    """A union of one is that class, a class of our name needs no words, and what is left out is not
    labeled.
    """
    coarse = CoarseLabels(Helper(), OURS, UNIONS)

    assert coarse.unions == ((1, 2),)
    assert coarse[0].mask.tolist() == [[0, 4, 2, 255, 3, 255]]
    assert coarse.classes == OURS
    assert list(coarse.names) == ["one"]


@pytest.mark.parametrize(
    ("unions", "told"),
    [
        ({"vehicle": ["Car"]}, "'vehicle'.*drivable, vehicles"),
        ({"vehicles": ["Cart"]}, "'Cart'.*Road, Car"),
    ],
    ids=["theirs", "ours"],
)
def test_unknown_names_are_told(unions: dict[str, list[str]], told: str) -> None:
    """A slip of the pen would leave a class unlearned."""
    with pytest.raises(ConfigError, match=told):
        CoarseLabels(Helper(), OURS, unions)


def test_helper_without_any_of_our_classes_is_told() -> None:
    """All of its pixels would count for nothing."""
    with pytest.raises(ConfigError, match="give unions"):
        CoarseLabels(Helper(), OURS[:1], {})


def test_loss_is_that_of_the_sum_of_the_chances() -> None:
    """By hand: chances of 1/2, 1/4, 1/8 and 1/8 give a union of the last two a loss of log 4."""
    logits = torch.tensor([8.0, 4, 2, 2]).log().view(1, 4, 1, 1).expand(1, 4, 1, 3)
    masks = torch.tensor([[[4, 5, 255]]], dtype=torch.uint8)

    loss = one_of_several(logits, masks, [(2, 3), (0, 1, 2, 3)])

    assert loss.item() == pytest.approx((torch.tensor(4.0).log() + 0).item() / 2, abs=1e-6)


def test_teacher_decides_within_a_union() -> None:
    """By hand: the union's loss, and for its share the teacher's chances against those within the
    union.
    """
    logits = torch.tensor([8.0, 4, 2, 2]).log().view(1, 4, 1, 1)
    opinion = torch.tensor([0.5, 0.1, 0.3, 0.1]).log().view(1, 4, 1, 1)
    union = torch.tensor([[[4]]], dtype=torch.uint8)

    loss = one_of_several(logits, union, [(1, 2)], opinion)

    by_hand = (
        -torch.tensor(6 / 16).log()
        - 0.1 * torch.tensor(4 / 6).log()
        - 0.3 * torch.tensor(2 / 6).log()
    )
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_network_that_learns_from_unions_comes_to_the_answers_of_its_teacher() -> None:
    """Where the truth says a or b and the teacher a, it becomes a.

    Without the teacher both stay as they were.
    """
    logits, opinion = (
        torch.zeros(1, 4, 1, 1, requires_grad=True),
        torch.tensor([0.0, 4, 0, 0]).view(1, 4, 1, 1),
    )
    union = torch.tensor([[[4]]], dtype=torch.uint8)

    for told in (None, opinion):
        objective = Objective("ce", aux_weight=0.4, unions=[(1, 3)])
        (slope,) = torch.autograd.grad(objective(logits, union, told), logits)
        assert (slope[0, 1] < slope[0, 3]) == (told is not None)


def test_pixels_count_alike_whether_their_class_is_known_or_one_of_several() -> None:
    """Of three known pixels and one of a union the loss is the mean of all four."""
    logits = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    masks = torch.tensor([[[0, 1], [2, 4]]], dtype=torch.uint8)

    loss = Objective("ce", aux_weight=0.4, unions=[(1, 3)])(logits, masks)

    chances = logits.softmax(1)
    each = [
        chances[0, 0, 0, 0],
        chances[0, 1, 0, 1],
        chances[0, 2, 1, 0],
        chances[0, [1, 3], 1, 1].sum(),
    ]
    assert loss.item() == pytest.approx(-torch.stack(each).log().mean().item(), abs=1e-6)


@pytest.mark.parametrize("loss", ["ce", "dice", "ohem", "focal", "lovasz"])
def test_pictures_of_unions_alone_teach_without_nan(loss: str) -> None:
    """A batch may hold nothing but the helper's images, and a batch may hold nothing at all."""
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    objective = Objective(loss, aux_weight=0.4, weights=torch.ones(4), unions=[(1, 3)])

    value = objective(logits, torch.full((1, 2, 2), 4, dtype=torch.uint8))
    value.backward()

    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[:, [1, 3]].max() < 0 < logits.grad[:, [0, 2]].min()
    assert objective(logits, torch.full((1, 2, 2), 255, dtype=torch.uint8)) == 0


def test_without_unions_nothing_changes() -> None:
    """The losses are those that they were."""
    logits, masks = torch.randn(1, 4, 2, 2), torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)

    assert Objective("ce", aux_weight=0.4)(logits, masks) == cross_entropy(logits, masks)


def test_own_pictures_come_as_often_as_is_asked(tiny_camvid: Path) -> None:
    """Beside a large helper a small dataset would be lost.

    Each of its images is still read once.
    """
    recipe = Recipe(
        dataset="camvid",
        data=str(tiny_camvid),
        helper="camvid",
        helper_data=str(tiny_camvid),
        repeat=3,
    )
    own = len(open_both(replace(recipe, helper="", repeat=1), room=0).train)

    splits = open_both(recipe, room=1e6)

    helping = len(splits.train) - 3 * own
    assert helping == own
    assert splits.unions == ()
    assert [splits.train[index].name for index in (0, own, 2 * own)] == [splits.train.names[0]] * 3
    assert splits.train[3 * own].name == splits.train.names[3 * own]
    assert isinstance(splits.train, ConcatDataset)


@pytest.mark.slow
def test_run_learns_from_a_helper_and_goes_on(tiny_camvid: Path, tmp_path: Path) -> None:
    """Unions reach the loss, and a recipe with them is written and read."""
    unions = {"Sky": ["Tree", "Sky"]}
    helped = Recipe(
        dataset="camvid",
        data=str(tiny_camvid),
        helper="camvid",
        helper_data=str(tiny_camvid),
        unions=unions,
        repeat=2,
    )
    recipe = replace(
        helped, arguments={"width": 4, "depth": 1}, imgsz=(32, 48), epochs=1, workers=0
    )

    run = Run(recipe)
    run.fit(tmp_path, report=lambda _: None)

    assert run.history[0].loss > 0
    read = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert Recipe.from_dict(read, source="it") == recipe


@pytest.mark.slow
def test_teacher_is_asked_in_training(tiny_camvid: Path, tmp_path: Path) -> None:
    """What it says changes the weights.

    One of other classes is refused before anything is learned.
    """
    unions = {"Sky": ["Tree", "Sky"]}
    helped = Recipe(
        dataset="camvid",
        data=str(tiny_camvid),
        helper="camvid",
        helper_data=str(tiny_camvid),
        unions=unions,
    )
    recipe = replace(
        helped, arguments={"width": 4, "depth": 1}, imgsz=(32, 48), epochs=1, workers=0
    )
    alone, teacher, stranger = (tmp_path / name for name in ("alone", "teacher", "stranger"))
    for folder in (alone, teacher, stranger):
        folder.mkdir()
    first = Run(recipe)
    first.fit(alone, report=lambda _: None)
    Run(replace(recipe, dataset="streets", data="", helper="", unions={}, overfit=2)).fit(
        stranger, report=lambda _: None
    )

    taught = Run(replace(recipe, teacher=str(alone / "best.pt")))
    taught.fit(teacher, report=lambda _: None)

    assert taught.history[0].loss != first.history[0].loss
    card = load_checkpoint(stranger / "best.pt").card
    other = structs.replace(
        card, classes=(*card.classes[:-1], LabelClass(name="Cow", color=(1, 2, 3)))
    )
    save_checkpoint(
        stranger / "best.pt", replace(load_checkpoint(stranger / "best.pt"), card=other)
    )
    with pytest.raises(ConfigError, match="Cow"):
        Run(replace(recipe, teacher=str(stranger / "best.pt")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"teacher": "best.pt"},
        {"unions": {"a": ["b"]}},
        {"repeat": 2},
        {"helper": "streets", "unions": {"a": "b"}},
    ],
)
def test_recipe_refuses_what_would_have_no_effect(wrong: dict[str, object]) -> None:
    """Unions and repetitions are for a helper."""
    with pytest.raises(ConfigError, match="it must be"):
        Recipe.from_dict(wrong, source="a recipe")
