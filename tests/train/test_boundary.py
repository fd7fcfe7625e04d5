"""Boundaries: where they are, and what it costs to miss them."""

import math

import pytest
import torch

from segdeploy.models.registry import build
from segdeploy.train.losses import boundary, cross_entropy, near_another, where_sure
from segdeploy.train.objective import Objective


def masks(*rows: list[int]) -> torch.Tensor:
    return torch.tensor([list(rows)], dtype=torch.uint8)


def test_boundary_reaches_two_pixels_to_each_side() -> None:
    """The authors' edges are four pixels wide, two on each side of where classes meet."""
    found = near_another(masks([1, 1, 1, 1, 7, 7, 7, 7]))

    assert found.tolist() == [[[False, False, True, True, True, True, False, False]]]


def test_what_is_not_labelled_makes_no_boundary() -> None:
    """The rim of an image that nobody labeled is no object's edge."""
    found = near_another(masks([3, 3, 255, 255, 255, 3, 3], [3, 3, 255, 255, 255, 3, 3]))

    assert not found.any()


def test_both_kinds_weigh_the_same() -> None:
    """Two of eight pixels: with logits of 0 each costs log 2, and the weighted mean is 2 * 1/4 *
    3/4 of that.
    """
    truth = masks([1, 1, 1, 1, 1, 1, 1, 1, 2])
    near = near_another(truth).sum().item()

    loss = boundary(torch.zeros(1, 1, 1, 9), truth)

    assert near == 3
    assert loss.item() == pytest.approx(2 * (3 / 9) * (6 / 9) * math.log(2))


def test_batch_with_nothing_labelled_costs_nothing() -> None:
    """0, and no number that is none."""
    assert (
        boundary(torch.randn(2, 1, 4, 4), torch.full((2, 4, 4), 255, dtype=torch.uint8)).item() == 0
    )


def test_only_sure_boundaries_count_in_the_fourth_loss() -> None:
    """Odds of e^2 are above 0.8 and those of e below.

    Pixels 0 and 2 count, at log 2 and log 4/3; pixel 3 is sure but not labeled.
    """
    truth = masks([0, 0, 0, 255])
    edges = torch.tensor([2.0, 1.0, 2.0, 2.0]).view(1, 1, 1, 4)
    three = math.log(3)
    logits = torch.tensor([[0.0, 0.0, three, 0.0], [0.0, three, 0.0, 0.0]]).view(1, 2, 1, 4)

    sure = where_sure(edges, truth)

    assert sure.tolist() == [[[0, 255, 0, 255]]]
    assert cross_entropy(logits, sure).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    plain = math.log(2) + math.log(4) + math.log(4 / 3)
    expected = plain / 3 + 20 * boundary(edges, truth).item() + cross_entropy(logits, sure).item()
    assert Objective("ce", aux_weight=0.4)((logits, edges), truth).item() == pytest.approx(expected)


def test_objective_takes_what_pidnet_answers() -> None:
    """Main answer, auxiliary classes, and boundaries.

    The loss of each by its kind, and a gradient for all.
    """
    torch.manual_seed(0)
    network = build("pidnet_s", 3).train()
    answer = network(torch.rand(2, 3, 64, 64))
    truth = torch.randint(0, 3, (2, 64, 64), dtype=torch.uint8)

    loss = Objective("ce", aux_weight=0.4)(answer, truth)
    loss.backward()

    alone = Objective("ce", aux_weight=0.4)
    edges = torch.nn.functional.interpolate(
        answer[2], size=(64, 64), mode="bilinear", align_corners=False
    )
    main = torch.nn.functional.interpolate(
        answer[0], size=(64, 64), mode="bilinear", align_corners=False
    )
    found = 20 * boundary(edges, truth) + cross_entropy(main, where_sure(edges, truth))
    torch.testing.assert_close(
        loss, alone(answer[0], truth) + 0.4 * alone(answer[1], truth) + found
    )
    assert all(weight.grad is not None for weight in network.auxiliary.parameters())
