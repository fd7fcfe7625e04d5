"""The weighted sum of losses, over all heads of a network and with coarse labels."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from segdeploy.models.registry import build
from segdeploy.train.losses import (
    Objective,
    Pixels,
    boundary_loss,
    cross_entropy,
    sure_boundaries,
)
from segdeploy.train.recipe import LOSSES

pytestmark = pytest.mark.usefixtures("one_thread")

MASKS = torch.zeros(1, 8, 8, dtype=torch.uint8)
LOG_2 = 0.6931472


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


def test_terms_are_weighed() -> None:
    """Two equal logits cost log 2 in cross entropy, and a quarter of it in the focal loss."""
    objective = Objective("2*ce+0.5*focal", aux_weight=0.4)

    assert objective(torch.zeros(1, 2, 8, 8), MASKS).item() == pytest.approx(2 * LOG_2 + LOG_2 / 8)


def test_auxiliary_heads_weigh_less() -> None:
    """Each at a size of its own.

    Log 2 + 0.4 (log 2 + 2 log 2), the last being confident of the wrong class at odds of 1 to 3.
    """
    wrong = torch.zeros(1, 2, 4, 4)
    wrong[:, 1] = torch.log(torch.tensor(3.0))
    heads = (torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 2, 2), wrong)

    assert Objective("ce", aux_weight=0.4)(heads, MASKS).item() == pytest.approx(
        LOG_2 + 0.4 * 3 * LOG_2
    )
    assert Objective("ce", aux_weight=0.4)(heads[:1], MASKS).item() == pytest.approx(LOG_2)


def test_loss_of_half_precision_is_computed_in_single() -> None:
    """Sums over millions of pixels need it."""
    loss = Objective("ce+dice+lovasz+focal+ohem", aux_weight=0.4)(
        torch.zeros(1, 2, 4, 4, dtype=torch.bfloat16), MASKS
    )

    assert loss.dtype == torch.float32


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_output_has_no_loss(name: str) -> None:
    """A confident and correct output has the smallest loss."""
    masks = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 0, 0, 0] = logits[0, 1, 0, 1] = logits[0, 2, 1, 0] = 60.0

    assert Objective(name, aux_weight=0.4)(logits, masks).item() == pytest.approx(0, abs=1e-6)


def test_sum_is_the_sum_at_the_masks_size() -> None:
    """The loss of a network with a stride is that of upsampled logits, as in deployment.

    Equal logits stay equal.
    """
    logits = torch.zeros(1, 2, 2, 3)
    masks = torch.zeros(1, 8, 12, dtype=torch.uint8)

    loss = Objective("ce+dice", aux_weight=0.4)(logits, masks)

    assert loss.item() == pytest.approx(0.6931472 + 1 - 2 * 48 / (48 + 96))


def test_weights_with_nothing_labeled_give_zero() -> None:
    """A crop may contain only padding."""
    loss = Objective("ce+dice", aux_weight=0.4, weights=torch.tensor([1.0, 3.0]))(
        torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2), 255, dtype=torch.uint8)
    )

    assert loss.item() == 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_cross_entropy_of_two_heads_is_pytorchs(layout: torch.memory_format) -> None:
    """Own upsampling and softmax over planes are faster, and nothing else: loss and gradients are
    those of PyTorch's functions, in either memory layout and at sizes that no stride divides.
    """
    random = torch.Generator().manual_seed(3)
    heads = [
        torch.randn(2, 5, *size, generator=random).to(memory_format=layout).requires_grad_()
        for size in ((7, 9), (3, 9))
    ]
    labels = torch.randint(0, 5, (2, 25, 9), generator=random, dtype=torch.uint8)
    labels[:, :3] = 255

    loss = Objective("ce", aux_weight=0.4)(heads, labels)
    found = torch.autograd.grad(loss, heads)

    main, auxiliary = (
        functional.cross_entropy(
            functional.interpolate(logits, size=(25, 9), mode="bilinear"),
            labels.long(),
            ignore_index=255,
        )
        for logits in heads
    )
    expected = torch.autograd.grad(main + 0.4 * auxiliary, heads)
    assert loss.item() == pytest.approx(main.item() + 0.4 * auxiliary.item(), rel=1e-6)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_unlabeled_pixels_change_nothing(name: str) -> None:
    """Neither the loss nor its gradient depends on unlabeled pixels."""
    logits, masks = random_output(classes=3)
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
    """Gradients of custom losses are checked numerically.

    Along one direction, in double precision where the loss allows it.
    """
    logits, masks = random_output(classes=3)
    objective = Objective(name, aux_weight=0.4)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    leaf = logits.clone().requires_grad_()

    objective(leaf, masks).backward()
    ahead, behind = (objective(logits + step * direction, masks).item() for step in (1e-3, -1e-3))

    assert leaf.grad is not None
    assert (leaf.grad * direction).sum().item() == pytest.approx(
        (ahead - behind) / 2e-3, rel=0.02, abs=2e-3
    )


def test_only_sure_boundaries_count_in_the_fourth_loss() -> None:
    """Odds of e^2 are above 0.8 and those of e below.

    Pixels 0 and 2 count, at log 2 and log 4/3; pixel 3 is sure but not labeled.
    """
    labels = masks([0, 0, 0, 255])
    edges = torch.tensor([2.0, 1.0, 2.0, 2.0]).view(1, 1, 1, 4)
    three = math.log(3)
    logits = torch.tensor([[0.0, 0.0, three, 0.0], [0.0, three, 0.0, 0.0]]).view(1, 2, 1, 4)

    sure = sure_boundaries(edges, labels)

    assert sure.tolist() == [[[0, 255, 0, 255]]]
    assert cross_entropy(Pixels(logits, sure)).item() == pytest.approx(
        (math.log(2) + math.log(4 / 3)) / 2
    )
    plain = math.log(2) + math.log(4) + math.log(4 / 3)
    expected = (
        plain / 3
        + 20 * boundary_loss(edges, labels).item()
        + cross_entropy(Pixels(logits, sure)).item()
    )
    assert Objective("ce", aux_weight=0.4)((logits, edges), labels).item() == pytest.approx(
        expected
    )


def test_objective_takes_all_heads_of_pidnet() -> None:
    """Main head, auxiliary classes, and boundaries.

    The loss of each by its kind, and a gradient for all.
    """
    torch.manual_seed(0)
    network = build("pidnet_s", 3).train()
    output = network(torch.rand(2, 3, 64, 64))
    labels = torch.randint(0, 3, (2, 64, 64), dtype=torch.uint8)

    loss = Objective("ce", aux_weight=0.4)(output, labels)
    loss.backward()

    alone = Objective("ce", aux_weight=0.4)
    edges = torch.nn.functional.interpolate(
        output[2], size=(64, 64), mode="bilinear", align_corners=False
    )
    main = torch.nn.functional.interpolate(
        output[0], size=(64, 64), mode="bilinear", align_corners=False
    )
    found = 20 * boundary_loss(edges, labels) + cross_entropy(
        Pixels(main, sure_boundaries(edges, labels))
    )
    torch.testing.assert_close(
        loss, alone(output[0], labels) + 0.4 * alone(output[1], labels) + found
    )
    assert all(weight.grad is not None for weight in network.auxiliary.parameters())


def test_gradient_within_a_coarse_class_follows_the_teacher() -> None:
    """Where the label covers a and b and the teacher says a, the gradient favors a.

    Without the teacher it favors neither.
    """
    logits, teacher = (
        torch.zeros(1, 4, 1, 1, requires_grad=True),
        torch.tensor([0.0, 4, 0, 0]).view(1, 4, 1, 1),
    )
    coarse = torch.tensor([[[4]]], dtype=torch.uint8)

    for given in (None, teacher):
        objective = Objective("ce", aux_weight=0.4, coarse_classes=[(1, 3)])
        (gradient,) = torch.autograd.grad(objective(logits, coarse, given), logits)
        assert (gradient[0, 1] < gradient[0, 3]) == (given is not None)


def test_pixels_of_fine_and_coarse_classes_count_alike() -> None:
    """Of three fine labels and one coarse label the loss is the mean of all four."""
    logits = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    masks = torch.tensor([[[0, 1], [2, 4]]], dtype=torch.uint8)

    loss = Objective("ce", aux_weight=0.4, coarse_classes=[(1, 3)])(logits, masks)

    probabilities = logits.softmax(1)
    each = [
        probabilities[0, 0, 0, 0],
        probabilities[0, 1, 0, 1],
        probabilities[0, 2, 1, 0],
        probabilities[0, [1, 3], 1, 1].sum(),
    ]
    assert loss.item() == pytest.approx(-torch.stack(each).log().mean().item(), abs=1e-6)


@pytest.mark.parametrize("loss", ["ce", "dice", "ohem", "focal", "lovasz"])
def test_batch_of_coarse_labels_alone_has_finite_gradients(loss: str) -> None:
    """A batch may hold images of the second dataset only, or no label at all."""
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    objective = Objective(loss, aux_weight=0.4, weights=torch.ones(4), coarse_classes=[(1, 3)])

    value = objective(logits, torch.full((1, 2, 2), 4, dtype=torch.uint8))
    value.backward()

    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[:, [1, 3]].max() < 0 < logits.grad[:, [0, 2]].min()
    assert objective(logits, torch.full((1, 2, 2), 255, dtype=torch.uint8)) == 0


def test_without_coarse_classes_nothing_changes() -> None:
    """The losses are the plain ones."""
    logits, masks = torch.randn(1, 4, 2, 2), torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)

    assert Objective("ce", aux_weight=0.4)(logits, masks) == cross_entropy(Pixels(logits, masks))
