"""Losses against values worked out by hand."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from segdeploy.train.losses import (
    Pixels,
    boundary_loss,
    coarse_cross_entropy,
    cross_entropy,
    dice,
    focal,
    jaccard_gradient,
    lovasz,
    near_boundary,
    ohem,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def random_output(*, classes: int, unlabeled: bool = True) -> tuple[Tensor, Tensor]:
    """Random logits of two images, and labels in which every class occurs."""
    random = torch.Generator().manual_seed(7)
    logits = 2 * torch.randn(2, classes, 9, 11, generator=random)
    masks = torch.randint(0, classes, (2, 9, 11), generator=random).to(torch.uint8)
    if unlabeled:
        masks[:, :2] = 255
    return logits, masks


def masks(*rows: list[int]) -> torch.Tensor:
    return torch.tensor([list(rows)], dtype=torch.uint8)


def test_cross_entropy_counts_labeled_pixels_only() -> None:
    """Two pixels labeled: log(1 + e^-2) and log(1 + e^2), whatever the third is."""
    logits = torch.tensor([[[[2.0, 0.0, 50.0]], [[0.0, -2.0, -50.0]]]])
    masks = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)

    loss = cross_entropy(Pixels(logits, masks))

    expected = (
        torch.log(1 + torch.exp(torch.tensor(-2.0))) + torch.log(1 + torch.exp(torch.tensor(2.0)))
    ) / 2
    torch.testing.assert_close(loss, expected)


def test_dice_counts_labeled_pixels_and_classes_that_occur_only() -> None:
    """Probabilities 3/4 and 1/4, labels 0 and 0: 1 - 2 (3/4 + 1/4) / (3/4 + 1/4 + 2) is a third.

    Class 1 never occurs.
    """
    three = torch.log(torch.tensor(3.0)).item()
    logits = torch.tensor([[[[three, 0.0, 9.0]], [[0.0, three, -9.0]]]])
    masks = torch.tensor([[[0, 0, 255]]], dtype=torch.uint8)

    assert dice(Pixels(logits, masks)).item() == pytest.approx(1 / 3)


def test_dice_weighs_classes_alike() -> None:
    """One pixel of class 1 is missed among 99 of class 0 that are right.

    1 - 198/199 and 1, halved.
    """
    masks = torch.zeros(1, 10, 10, dtype=torch.uint8)
    masks[0, 0, 0] = 1
    logits = torch.zeros(1, 2, 10, 10)
    logits[:, 0] = 50.0

    assert dice(Pixels(logits, masks)).item() == pytest.approx((1 - 198 / 199 + 1) / 2, abs=1e-6)


def test_weights_make_a_rare_class_heavier() -> None:
    """Both pixels cost log 2; whatever the weights, their weighted mean is log 2, and the gradient
    is 3 times as large on class 1.
    """
    logits = torch.zeros(1, 2, 1, 2, requires_grad=True)
    masks = torch.tensor([[[0, 1]]], dtype=torch.uint8)

    loss = cross_entropy(Pixels(logits, masks), torch.tensor([1.0, 3.0]))
    loss.backward()

    assert loss.item() == pytest.approx(0.693147, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad[0, 1, 0, 1].item() == pytest.approx(3 * logits.grad[0, 0, 0, 0].item())


def test_ohem_counts_hard_pixels_only() -> None:
    """Of 32 pixels two are below a probability of 0.7, at 1/2 and 1/4.

    Their mean is (log 2 + log 4) / 2, whatever the others are.
    """
    sure, half, quarter = 9.0, 0.0, -torch.log(torch.tensor(3.0)).item()
    margins = torch.full((1, 4, 8), sure)
    margins[0, 0, 0], margins[0, 0, 1] = half, quarter
    logits = torch.stack([margins, torch.zeros_like(margins)], dim=1)

    loss = ohem(Pixels(logits, torch.zeros(1, 4, 8, dtype=torch.uint8)))

    assert loss.item() == pytest.approx(1.5 * 0.6931472)


def test_ohem_keeps_a_sixteenth_where_all_are_easy() -> None:
    """The two hardest of 32 sure pixels, at margins of 2 and 3."""
    margins = torch.full((1, 4, 8), 20.0)
    margins[0, 1, 1], margins[0, 2, 2] = 2.0, 3.0
    logits = torch.stack([margins, torch.zeros_like(margins)], dim=1)
    expected = (
        torch.log1p(torch.exp(torch.tensor(-2.0))) + torch.log1p(torch.exp(torch.tensor(-3.0)))
    ) / 2

    loss = ohem(Pixels(logits, torch.zeros(1, 4, 8, dtype=torch.uint8)))

    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_ohem_never_takes_what_is_not_labeled() -> None:
    """One labeled pixel among 31 that are not is less than a sixteenth, and alone counts."""
    masks = torch.full((1, 4, 8), 255, dtype=torch.uint8)
    masks[0, 3, 3] = 1
    logits = torch.zeros(1, 2, 4, 8)
    logits[0, 1, 3, 3] = 5.0

    assert ohem(Pixels(logits, masks)).item() == pytest.approx(
        torch.log1p(torch.exp(torch.tensor(-5.0))).item(), rel=1e-4
    )


def test_ohem_weighs_hard_pixels_by_their_class() -> None:
    """Both pixels are hard, at 1/2 and 1/4.

    Class 1 weighs three times as much: (log 2 + 3 log 4) / 4.
    """
    logits = torch.tensor([[[[0.0, torch.log(torch.tensor(3.0)).item()]], [[0.0, 0.0]]]])
    masks = torch.tensor([[[0, 1]]], dtype=torch.uint8)

    assert ohem(Pixels(logits, masks), torch.tensor([1.0, 3.0])).item() == pytest.approx(
        7 / 4 * 0.6931472
    )


def test_focal_weighs_easy_pixels_less() -> None:
    """At probabilities of 1/2 and 3/4: (1/4 log 2 + 1/16 log 4/3) / 2.

    The third pixel is not labeled.
    """
    logits = torch.tensor([[[[0.0, torch.log(torch.tensor(3.0)).item(), 4.0]], [[0.0, 0.0, 0.0]]]])
    masks = torch.tensor([[[0, 0, 255]]], dtype=torch.uint8)

    assert focal(Pixels(logits, masks)).item() == pytest.approx(
        (0.6931472 / 4 + 0.2876821 / 16) / 2
    )


def test_focal_of_two_classes_is_torchvisions() -> None:
    """Two logits are one, their difference."""
    logits, masks = random_output(classes=2)
    labeled = masks != 255

    expected = sigmoid_focal_loss(
        (logits[:, 1] - logits[:, 0])[labeled],
        masks[labeled].float(),
        alpha=-1,
        gamma=2,
        reduction="mean",
    )

    torch.testing.assert_close(focal(Pixels(logits, masks)), expected)


def test_focal_has_a_gradient_at_probabilities_of_one() -> None:
    """Probabilities that round to 1 must not give a gradient of NaN."""
    logits = torch.tensor([[[[90.0, -90.0]], [[0.0, 0.0]]]], requires_grad=True)

    focal(Pixels(logits, torch.zeros(1, 1, 2, dtype=torch.uint8))).backward()

    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 0, 0, 1] < 0


def test_dice_and_lovasz_are_those_of_segmentation_models_pytorch() -> None:
    """Another library agrees, where it supports the case.

    There every class occurs, and Dice has no unlabeled pixels.
    """
    library = pytest.importorskip("segmentation_models_pytorch.losses")
    logits, masks = random_output(classes=4)
    whole, labeled = random_output(classes=4, unlabeled=False)

    torch.testing.assert_close(
        lovasz(Pixels(logits, masks)),
        library.LovaszLoss("multiclass", ignore_index=255)(logits, masks.long()),
    )
    torch.testing.assert_close(
        dice(Pixels(whole, labeled)), library.DiceLoss("multiclass")(whole, labeled.long())
    )


def test_confident_predictions_have_their_jaccard_loss() -> None:
    """Of class 0's three pixels two are found, and one other pixel is predicted as it: 1 - 2/4.

    Of class 1's two, one, beside one more: 1 - 1/3.
    """
    masks = torch.tensor([[[0, 0, 0, 1, 1, 255]]], dtype=torch.uint8)
    predicted = torch.tensor([0, 0, 1, 1, 0, 0])
    logits = 100.0 * torch.nn.functional.one_hot(predicted, 3).T.reshape(1, 3, 1, 6).float()

    assert lovasz(Pixels(logits, masks)).item() == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_every_set_of_errors_has_its_jaccard_loss() -> None:
    """Definition 1 of the paper.

    On the corners of the cube the extension is the set's own loss, here for all 32 sets of 5
    pixels.
    """
    labels = torch.tensor([True, True, False, False, True])
    for wrong in itertools.product([False, True], repeat=5):
        mistakes = torch.tensor(wrong)
        errors, order = mistakes.float().sort(descending=True, stable=True)
        prediction = labels ^ mistakes
        either = (labels | prediction).sum()

        cost = torch.dot(errors, jaccard_gradient(labels[order], torch.ones(5, dtype=torch.bool)))

        assert cost.item() == pytest.approx(
            1 - ((labels & prediction).sum() / either).item(), abs=1e-6
        )


def test_steps_sum_to_the_loss_of_all_wrong_in_a_large_batch() -> None:
    """Among 4 million pixels neighbors differ by 5e-7, which single precision knows to a tenth."""
    pixels = 4_000_000
    labels = torch.zeros(pixels, dtype=torch.bool)
    labels[: pixels // 2] = True

    steps = jaccard_gradient(labels, torch.ones(pixels, dtype=torch.bool))

    assert steps.double().sum().item() == pytest.approx(1, abs=1e-6)
    assert steps[0].item() == pytest.approx(5e-7, rel=1e-3)


def test_coarse_loss_is_that_of_the_summed_probability() -> None:
    """Probabilities of 1/2, 1/4, 1/8 and 1/8: a coarse class of the last two costs log 4."""
    logits = torch.tensor([8.0, 4, 2, 2]).log().view(1, 4, 1, 1).expand(1, 4, 1, 3)
    masks = torch.tensor([[[4, 5, 255]]], dtype=torch.uint8)

    loss = coarse_cross_entropy(logits, masks, [(2, 3), (0, 1, 2, 3)])

    assert loss.item() == pytest.approx((torch.tensor(4.0).log() + 0).item() / 2, abs=1e-6)


def test_teacher_decides_within_a_coarse_class() -> None:
    """The coarse class's loss, and the cross entropy of the teacher's probabilities within it."""
    logits = torch.tensor([8.0, 4, 2, 2]).log().view(1, 4, 1, 1)
    teacher = torch.tensor([0.5, 0.1, 0.3, 0.1]).log().view(1, 4, 1, 1)
    coarse = torch.tensor([[[4]]], dtype=torch.uint8)

    loss = coarse_cross_entropy(logits, coarse, [(1, 2)], teacher)

    by_hand = (
        -torch.tensor(6 / 16).log()
        - 0.1 * torch.tensor(4 / 6).log()
        - 0.3 * torch.tensor(2 / 6).log()
    )
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_boundary_reaches_two_pixels_to_each_side() -> None:
    """The authors' edges are four pixels wide, two on each side of where classes meet."""
    found = near_boundary(masks([1, 1, 1, 1, 7, 7, 7, 7]))

    assert found.tolist() == [[[False, False, True, True, True, True, False, False]]]


def test_unlabeled_pixels_make_no_boundary() -> None:
    """The unlabeled margin of an image is not an object's boundary."""
    found = near_boundary(masks([3, 3, 255, 255, 255, 3, 3], [3, 3, 255, 255, 255, 3, 3]))

    assert not found.any()


def test_both_kinds_weigh_the_same() -> None:
    """Two of eight pixels: with logits of 0 each costs log 2, and the weighted mean is 2 * 1/4 *
    3/4 of that.
    """
    labels = masks([1, 1, 1, 1, 1, 1, 1, 1, 2])
    near = near_boundary(labels).sum().item()

    loss = boundary_loss(torch.zeros(1, 1, 1, 9), labels)

    assert near == 3
    assert loss.item() == pytest.approx(2 * (3 / 9) * (6 / 9) * math.log(2))


def test_batch_with_nothing_labeled_has_no_loss() -> None:
    """0, not NaN."""
    assert (
        boundary_loss(torch.randn(2, 1, 4, 4), torch.full((2, 4, 4), 255, dtype=torch.uint8)).item()
        == 0
    )
