"""Losses against values worked out by hand."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from segdeploy.train.losses import cross_entropy, dice, focal, lovasz, ohem
from segdeploy.train.objective import Objective
from segdeploy.train.recipe import LOSSES

pytestmark = pytest.mark.usefixtures("one_thread")


def test_cross_entropy_counts_labelled_pixels_only() -> None:
    """Two pixels labeled: log(1 + e^-2) and log(1 + e^2), whatever stands at the third."""
    logits = torch.tensor([[[[2.0, 0.0, 50.0]], [[0.0, -2.0, -50.0]]]])
    masks = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)

    loss = cross_entropy(logits, masks)

    expected = (
        torch.log(1 + torch.exp(torch.tensor(-2.0))) + torch.log(1 + torch.exp(torch.tensor(2.0)))
    ) / 2
    torch.testing.assert_close(loss, expected)


def test_dice_counts_labelled_pixels_and_classes_that_occur_only() -> None:
    """Probabilities 3/4 and 1/4, truth 0 and 0: 1 - 2 (3/4 + 1/4) / (3/4 + 1/4 + 2) is a third.

    Class 1 never occurs.
    """
    three = torch.log(torch.tensor(3.0)).item()
    logits = torch.tensor([[[[three, 0.0, 9.0]], [[0.0, three, -9.0]]]])
    masks = torch.tensor([[[0, 0, 255]]], dtype=torch.uint8)

    assert dice(logits, masks).item() == pytest.approx(1 / 3)


def test_dice_weighs_classes_alike() -> None:
    """One pixel of class 1 is missed among 99 of class 0 that are right.

    1 - 198/199 and 1, halved.
    """
    masks = torch.zeros(1, 10, 10, dtype=torch.uint8)
    masks[0, 0, 0] = 1
    logits = torch.zeros(1, 2, 10, 10)
    logits[:, 0] = 50.0

    assert dice(logits, masks).item() == pytest.approx((1 - 198 / 199 + 1) / 2, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_answer_costs_nothing(name: str) -> None:
    """A sure and right answer is the smallest that there is."""
    masks = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 0, 0, 0] = logits[0, 1, 0, 1] = logits[0, 2, 1, 0] = 60.0

    assert Objective(name, aux_weight=0.4)(logits, masks).item() == pytest.approx(0, abs=1e-6)


def test_sum_is_the_sum_at_the_masks_size() -> None:
    """A network with a stride is judged as in use.

    Equal logits stay equal when they are enlarged.
    """
    logits = torch.zeros(1, 2, 2, 3)
    masks = torch.zeros(1, 8, 12, dtype=torch.uint8)

    loss = Objective("ce+dice", aux_weight=0.4)(logits, masks)

    assert loss.item() == pytest.approx(0.6931472 + 1 - 2 * 48 / (48 + 96))


def test_weights_make_a_rare_class_heavier() -> None:
    """Both pixels cost log 2; whatever the weights, their weighted mean is log 2, and the gradient
    is 3 times as large on class 1.
    """
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


def answers(*, classes: int, unlabelled: bool = True) -> tuple[Tensor, Tensor]:
    """Random logits of two images, and truth in which every class occurs."""
    random = torch.Generator().manual_seed(7)
    logits = 2 * torch.randn(2, classes, 9, 11, generator=random)
    masks = torch.randint(0, classes, (2, 9, 11), generator=random).to(torch.uint8)
    if unlabelled:
        masks[:, :2] = 255
    return logits, masks


def test_ohem_counts_hard_pixels_only() -> None:
    """Of 32 pixels two are below a probability of 0.7, at 1/2 and 1/4.

    Their mean is (log 2 + log 4) / 2, whatever the others are.
    """
    sure, half, quarter = 9.0, 0.0, -torch.log(torch.tensor(3.0)).item()
    margins = torch.full((1, 4, 8), sure)
    margins[0, 0, 0], margins[0, 0, 1] = half, quarter
    logits = torch.stack([margins, torch.zeros_like(margins)], dim=1)

    loss = ohem(logits, torch.zeros(1, 4, 8, dtype=torch.uint8))

    assert loss.item() == pytest.approx(1.5 * 0.6931472)


def test_ohem_keeps_a_sixteenth_where_all_are_easy() -> None:
    """The two hardest of 32 sure pixels, at margins of 2 and 3."""
    margins = torch.full((1, 4, 8), 20.0)
    margins[0, 1, 1], margins[0, 2, 2] = 2.0, 3.0
    logits = torch.stack([margins, torch.zeros_like(margins)], dim=1)
    expected = (
        torch.log1p(torch.exp(torch.tensor(-2.0))) + torch.log1p(torch.exp(torch.tensor(-3.0)))
    ) / 2

    loss = ohem(logits, torch.zeros(1, 4, 8, dtype=torch.uint8))

    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_ohem_never_takes_what_is_not_labelled() -> None:
    """One labeled pixel among 31 that are not is less than a sixteenth, and alone counts."""
    masks = torch.full((1, 4, 8), 255, dtype=torch.uint8)
    masks[0, 3, 3] = 1
    logits = torch.zeros(1, 2, 4, 8)
    logits[0, 1, 3, 3] = 5.0

    assert ohem(logits, masks).item() == pytest.approx(
        torch.log1p(torch.exp(torch.tensor(-5.0))).item(), rel=1e-4
    )


def test_ohem_weighs_hard_pixels_by_their_class() -> None:
    """Both pixels are hard, at 1/2 and 1/4.

    Class 1 weighs three times as much: (log 2 + 3 log 4) / 4.
    """
    logits = torch.tensor([[[[0.0, torch.log(torch.tensor(3.0)).item()]], [[0.0, 0.0]]]])
    masks = torch.tensor([[[0, 1]]], dtype=torch.uint8)

    assert ohem(logits, masks, torch.tensor([1.0, 3.0])).item() == pytest.approx(7 / 4 * 0.6931472)


def test_focal_turns_from_what_is_known() -> None:
    """At probabilities of 1/2 and 3/4: (1/4 log 2 + 1/16 log 4/3) / 2.

    The third pixel is not labeled.
    """
    logits = torch.tensor([[[[0.0, torch.log(torch.tensor(3.0)).item(), 4.0]], [[0.0, 0.0, 0.0]]]])
    masks = torch.tensor([[[0, 0, 255]]], dtype=torch.uint8)

    assert focal(logits, masks).item() == pytest.approx((0.6931472 / 4 + 0.2876821 / 16) / 2)


def test_focal_of_two_classes_is_torchvisions() -> None:
    """Two logits are one, their difference."""
    logits, masks = answers(classes=2)
    labelled = masks != 255

    expected = sigmoid_focal_loss(
        (logits[:, 1] - logits[:, 0])[labelled],
        masks[labelled].float(),
        alpha=-1,
        gamma=2,
        reduction="mean",
    )

    torch.testing.assert_close(focal(logits, masks), expected)


def test_focal_has_a_gradient_where_an_answer_is_sure() -> None:
    """Probabilities that round to 1 must not give a gradient that is no number."""
    logits = torch.tensor([[[[90.0, -90.0]], [[0.0, 0.0]]]], requires_grad=True)

    focal(logits, torch.zeros(1, 1, 2, dtype=torch.uint8)).backward()

    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 0, 0, 1] < 0


def test_dice_and_lovasz_are_those_of_segmentation_models_pytorch() -> None:
    """A well-kept library agrees, on what it can count.

    There every class occurs, and Dice has no unlabeled pixels.
    """
    library = pytest.importorskip("segmentation_models_pytorch.losses")
    logits, masks = answers(classes=4)
    whole, labelled = answers(classes=4, unlabelled=False)

    torch.testing.assert_close(
        lovasz(logits, masks),
        library.LovaszLoss("multiclass", ignore_index=255)(logits, masks.long()),
    )
    torch.testing.assert_close(
        dice(whole, labelled), library.DiceLoss("multiclass")(whole, labelled.long())
    )


@pytest.mark.parametrize("name", LOSSES)
def test_unlabelled_pixels_change_nothing(name: str) -> None:
    """Neither the loss nor its gradient knows what stands where nothing is labeled."""
    logits, masks = answers(classes=3)
    other = torch.where((masks == 255).unsqueeze(1), torch.full_like(logits, 7.0), logits)
    objective = Objective(name, aux_weight=0.4)
    gradients = []

    for given in (logits, other):
        leaf = given.clone().requires_grad_()
        objective(leaf, masks).backward()
        assert leaf.grad is not None
        gradients.append(leaf.grad)

    torch.testing.assert_close(objective(logits, masks), objective(other, masks))
    torch.testing.assert_close(gradients[0], gradients[1])
    assert not gradients[0].permute(0, 2, 3, 1)[masks == 255].any()


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    """What is written by hand must fall where it says.

    Seen along a direction, in double precision where the loss allows it.
    """
    logits, masks = answers(classes=3)
    objective = Objective(name, aux_weight=0.4)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    leaf = logits.clone().requires_grad_()

    objective(leaf, masks).backward()
    ahead, behind = (objective(logits + step * direction, masks).item() for step in (1e-3, -1e-3))

    assert leaf.grad is not None
    assert (leaf.grad * direction).sum().item() == pytest.approx(
        (ahead - behind) / 2e-3, rel=0.02, abs=2e-3
    )
