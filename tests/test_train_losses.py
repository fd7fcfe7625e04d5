"""Losses against values worked out by hand."""

import pytest
import torch

from segdeploy.train.losses import cross_entropy, dice
from segdeploy.train.objective import Objective

pytestmark = pytest.mark.usefixtures("one_thread")


def test_cross_entropy_counts_labelled_pixels_only() -> None:
    """Two pixels labelled: log(1 + e^-2) and log(1 + e^2), whatever stands at the third."""
    logits = torch.tensor([[[[2.0, 0.0, 50.0]], [[0.0, -2.0, -50.0]]]])
    masks = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)

    loss = cross_entropy(logits, masks)

    expected = (torch.log(1 + torch.exp(torch.tensor(-2.0))) + torch.log(1 + torch.exp(torch.tensor(2.0)))) / 2
    torch.testing.assert_close(loss, expected)


def test_dice_counts_labelled_pixels_and_classes_that_occur_only() -> None:
    """Probabilities 3/4 and 1/4, truth 0 and 0: 1 - 2 (3/4 + 1/4) / (3/4 + 1/4 + 2) is a third; class 1 never occurs."""
    three = torch.log(torch.tensor(3.0)).item()
    logits = torch.tensor([[[[three, 0.0, 9.0]], [[0.0, three, -9.0]]]])
    masks = torch.tensor([[[0, 0, 255]]], dtype=torch.uint8)

    assert dice(logits, masks).item() == pytest.approx(1 / 3)


def test_dice_weighs_classes_alike() -> None:
    """One pixel of class 1 is missed among 99 of class 0 that are right: 1 - 198/199 and 1, halved."""
    masks = torch.zeros(1, 10, 10, dtype=torch.uint8)
    masks[0, 0, 0] = 1
    logits = torch.zeros(1, 2, 10, 10)
    logits[:, 0] = 50.0

    assert dice(logits, masks).item() == pytest.approx((1 - 198 / 199 + 1) / 2, abs=1e-6)


@pytest.mark.parametrize("name", ["ce", "dice"])
def test_perfect_answer_costs_nothing(name: str) -> None:
    """A sure and right answer is the smallest that there is."""
    masks = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 0, 0, 0] = logits[0, 1, 0, 1] = logits[0, 2, 1, 0] = 60.0

    assert Objective(name, aux_weight=0.4)(logits, masks).item() == pytest.approx(0, abs=1e-6)


def test_sum_is_the_sum_at_the_masks_size() -> None:
    """A network with a stride is judged as in use: equal logits stay equal when they are enlarged."""
    logits = torch.zeros(1, 2, 2, 3)
    masks = torch.zeros(1, 8, 12, dtype=torch.uint8)

    loss = Objective("ce+dice", aux_weight=0.4)(logits, masks)

    assert loss.item() == pytest.approx(0.6931472 + 1 - 2 * 48 / (48 + 96))


def test_weights_make_a_rare_class_heavier() -> None:
    """Both pixels cost log 2; whatever the weights, their weighted mean is log 2, and the gradient is 3 times as large on class 1."""
    logits = torch.zeros(1, 2, 1, 2, requires_grad=True)
    masks = torch.tensor([[[0, 1]]], dtype=torch.uint8)

    loss = cross_entropy(logits, masks, torch.tensor([1.0, 3.0]))
    loss.backward()

    assert loss.item() == pytest.approx(0.693147, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad[0, 1, 0, 1].item() == pytest.approx(3 * logits.grad[0, 0, 0, 0].item())


def test_weights_with_nothing_labelled_give_zero() -> None:
    """A crop may hold nothing but padding."""
    loss = Objective("ce+dice", aux_weight=0.4, weights=torch.tensor([1.0, 3.0]))(
        torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2), 255, dtype=torch.uint8)
    )

    assert loss.item() == 0
