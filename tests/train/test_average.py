"""The average follows the weights, and the norms' statistics with them."""

import pytest
import torch
from torch import Tensor, nn

from segdeploy.models.deployed import Deployed
from segdeploy.train.optimization import Average

pytestmark = pytest.mark.usefixtures("one_thread")


def network(value: float) -> Deployed:
    """A norm whose every number is the same."""
    norm = nn.BatchNorm2d(1)
    for tensor in norm.state_dict().values():
        tensor.fill_(value)
    return Deployed(norm, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def numbers(average: Average) -> dict[str, float]:
    state: dict[str, Tensor] = average.network.network.state_dict()
    return {key: value.item() for key, value in state.items()}


def test_follows_slowly_but_soon_forgets_where_it_began() -> None:
    """From 0 towards 11: the first decay is 2/11, so 9 of it; the second is 3/12, so 9 + 2 * 3/4.

    Counts are whole numbers and are copied.
    """
    average = Average(network(0), 0.9999)

    average.update(network(11))
    first = numbers(average)
    average.update(network(11))

    assert first.pop("num_batches_tracked") == 11
    assert all(value == pytest.approx(9) for value in first.values())
    assert set(first) == {"weight", "bias", "running_mean", "running_var"}
    assert numbers(average)["running_var"] == pytest.approx(10.5)


def test_decay_is_never_above_the_one_that_was_asked_for() -> None:
    """After very many updates (1 + n) / (10 + n) is nearly 1."""
    average = Average(network(0), 0.5)
    average.updates = 10_000

    average.update(network(8))

    assert numbers(average)["weight"] == pytest.approx(4)


def test_average_is_ready_to_answer_and_learns_nothing() -> None:
    """It is validated while the other trains."""
    source = network(1).train()
    average = Average(source, 0.9)

    assert not average.network.training
    assert source.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert average.network.network.weight is not source.network.weight
    torch.testing.assert_close(average.network.scale, source.scale)
