"""Sums of losses, over all heads of a network."""

import pytest
import torch

from segdeploy.errors import ConfigError
from segdeploy.train.objective import Objective
from segdeploy.train.recipe import read_terms

pytestmark = pytest.mark.usefixtures("one_thread")

MASKS = torch.zeros(1, 8, 8, dtype=torch.uint8)
LOG_2 = 0.6931472


def test_terms_are_read_with_their_weights() -> None:
    """As people write them."""
    assert read_terms("ce") == ((1.0, "ce"),)
    assert read_terms("0.5*ohem + lovasz+2 * dice") == (
        (0.5, "ohem"),
        (1.0, "lovasz"),
        (2.0, "dice"),
    )
    with pytest.raises(
        ConfigError,
        match=r"loss is 'ce\+bce'; it must be one of ce, ohem, focal, dice, lovasz, or a sum",
    ):
        read_terms("ce+bce")


def test_terms_are_weighed() -> None:
    """Two equal logits cost log 2 in cross entropy, and a quarter of it in the focal loss."""
    objective = Objective("2*ce+0.5*focal", aux_weight=0.4)

    assert objective(torch.zeros(1, 2, 8, 8), MASKS).item() == pytest.approx(2 * LOG_2 + LOG_2 / 8)


def test_auxiliary_heads_weigh_less() -> None:
    """Each at a size of its own.

    Log 2 + 0.4 (log 2 + 2 log 2), the last being sure of the wrong at odds of 1 to 3.
    """
    wrong = torch.zeros(1, 2, 4, 4)
    wrong[:, 1] = torch.log(torch.tensor(3.0))
    heads = (torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 2, 2), wrong)

    assert Objective("ce", aux_weight=0.4)(heads, MASKS).item() == pytest.approx(
        LOG_2 + 0.4 * 3 * LOG_2
    )
    assert Objective("ce", aux_weight=0.4)(heads[:1], MASKS).item() == pytest.approx(LOG_2)


def test_half_precision_answers_are_judged_in_single() -> None:
    """Sums over millions of pixels need it."""
    loss = Objective("ce+dice+lovasz+focal+ohem", aux_weight=0.4)(
        torch.zeros(1, 2, 4, 4, dtype=torch.bfloat16), MASKS
    )

    assert loss.dtype == torch.float32
