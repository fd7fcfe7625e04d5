"""The Lovász extension: the Jaccard loss on sure answers, and its linear way between them."""

import itertools

import pytest
import torch

from segdeploy.train.losses import jaccard_steps, lovasz

pytestmark = pytest.mark.usefixtures("one_thread")


def test_sure_answers_cost_their_jaccard_loss() -> None:
    """Of class 0's three pixels two are found and one other is taken for it: 1 - 2/4.

    Of class 1's two, one, beside one more: 1 - 1/3.
    """
    masks = torch.tensor([[[0, 0, 0, 1, 1, 255]]], dtype=torch.uint8)
    answered = torch.tensor([0, 0, 1, 1, 0, 0])
    logits = 100.0 * torch.nn.functional.one_hot(answered, 3).T.reshape(1, 3, 1, 6).float()

    assert lovasz(logits, masks).item() == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_every_set_of_mistakes_costs_its_jaccard_loss() -> None:
    """Definition 1 of the paper.

    On the corners of the cube the extension is the set's own loss, here for all 32 sets of 5
    pixels.
    """
    truth = torch.tensor([True, True, False, False, True])
    for wrong in itertools.product([False, True], repeat=5):
        mistakes = torch.tensor(wrong)
        errors, order = mistakes.float().sort(descending=True, stable=True)
        answer = truth ^ mistakes
        either = (truth | answer).sum()

        cost = torch.dot(errors, jaccard_steps(truth[order], torch.ones(5, dtype=torch.bool)))

        assert cost.item() == pytest.approx(1 - ((truth & answer).sum() / either).item(), abs=1e-6)


def test_steps_sum_to_the_loss_of_all_wrong_in_a_large_batch() -> None:
    """Among 4 million pixels neighbors differ by 5e-7, which single precision knows to a tenth."""
    pixels = 4_000_000
    truth = torch.zeros(pixels, dtype=torch.bool)
    truth[: pixels // 2] = True

    steps = jaccard_steps(truth, torch.ones(pixels, dtype=torch.bool))

    assert steps.double().sum().item() == pytest.approx(1, abs=1e-6)
    assert steps[0].item() == pytest.approx(5e-7, rel=1e-3)
