"""Optimizer, moving average of the weights, frozen encoder."""

from itertools import pairwise

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from segdeploy import models
from segdeploy.errors import ConfigError
from segdeploy.models.deployed import Deployed
from segdeploy.train.loader import Batch
from segdeploy.train.loop import Loop
from segdeploy.train.optimization import ModelEma, encoder_parts, make_optimizer
from segdeploy.train.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

FROZEN = Recipe(freeze=1, epochs=2, loss="ce", warmup=0.0)


def test_only_weights_decay() -> None:
    """Norms and biases have no weight decay, as is usual."""
    groups = make_optimizer(
        nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), Recipe(weight_decay=0.3)
    ).param_groups

    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [
        (0.3, 1),
        (0.0, 3),
    ]


def network(value: float) -> Deployed:
    """A norm whose every number is the same."""
    norm = nn.BatchNorm2d(1)
    for tensor in norm.state_dict().values():
        tensor.fill_(value)
    return Deployed(norm, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def numbers(average: ModelEma) -> dict[str, float]:
    state: dict[str, Tensor] = average.network.network.state_dict()
    return {key: value.item() for key, value in state.items()}


def test_decay_starts_low() -> None:
    """From 0 toward 11: the first decay is 2/11, so 9 of it; the second is 3/12, so 9 + 2 * 3/4.

    Counts are whole numbers and are copied.
    """
    average = ModelEma(network(0), 0.9999)

    average.update(network(11))
    first = numbers(average)
    average.update(network(11))

    assert first.pop("num_batches_tracked") == 11
    assert all(value == pytest.approx(9) for value in first.values())
    assert set(first) == {"weight", "bias", "running_mean", "running_var"}
    assert numbers(average)["running_var"] == pytest.approx(10.5)


def test_decay_is_at_most_the_one_of_the_recipe() -> None:
    """After very many updates (1 + n) / (10 + n) is nearly 1."""
    average = ModelEma(network(0), 0.5)
    average.updates = 10_000

    average.update(network(8))

    assert numbers(average)["weight"] == pytest.approx(4)


def test_average_is_in_evaluation_mode_and_not_trained() -> None:
    """It is validated while the network trains."""
    source = network(1).train()
    average = ModelEma(source, 0.9)

    assert not average.network.training
    assert source.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert average.network.network.weight is not source.network.weight
    torch.testing.assert_close(average.network.scale, source.scale)


def batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 8, 8, 3), generator=random, dtype=torch.uint8)
    return Batch(images, (images[..., 0] > 127).to(torch.uint8), torch.arange(2), torch.empty(2, 0))


def test_encoder_is_frozen_in_the_first_epochs_only() -> None:
    """After the first epoch it is trained with the others, and its norms are updated again."""
    torch.manual_seed(0)
    network = models.build("unet", 2, width=2, depth=1)
    loop = Loop(
        models.Deployed(network, FROZEN.mean, FROZEN.std), FROZEN, torch.device("cpu"), steps=1
    )
    states = [{key: value.clone() for key, value in network.state_dict().items()}]

    for epoch in range(2):
        loop.epoch(epoch, [batch()], names=("a", "b"), on_step=lambda _: None)
        loop.close_epoch()
        states.append({key: value.clone() for key, value in network.state_dict().items()})

    moved = [
        {key for key in after if not torch.equal(before[key], after[key])}
        for before, after in pairwise(states)
    ]
    assert moved[0]
    assert all(key.startswith(("decoder.", "head.")) for key in moved[0])
    assert any(key.startswith("encoder.") and key.endswith("running_mean") for key in moved[1])
    assert any(key.startswith("stem.") and key.endswith("weight") for key in moved[1])


def test_minus_one_is_all_epochs() -> None:
    """Fine-tuning of the head alone."""
    torch.manual_seed(0)
    network = models.build("unet", 2, width=2, depth=1)
    recipe = replace(FROZEN, freeze=-1)
    loop = Loop(
        models.Deployed(network, recipe.mean, recipe.std), recipe, torch.device("cpu"), steps=1
    )
    before = network.get_parameter("stem.0.0.weight").clone()

    for epoch in range(2):
        loop.epoch(epoch, [batch()], names=("a", "b"), on_step=lambda _: None)

    assert torch.equal(network.get_parameter("stem.0.0.weight"), before)


def test_a_network_without_an_encoder_cannot_be_frozen() -> None:
    """Freezing nothing without a message would waste a run."""
    with pytest.raises(ConfigError, match="'dot' has no part called backbone or encoder"):
        encoder_parts(torch.nn.Conv2d(3, 2, 1), "dot")
