"""Optimizer, learning rate, moving average of the weights, frozen encoder."""

import copy
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
from segdeploy.train.optimization import (
    ModelEma,
    encoder_parts,
    learning_rate,
    make_optimizer,
)
from segdeploy.train.recipe import SCHEDULES, Recipe

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


def rates(schedule: str, *, steps: int = 10, warmup: float = 0.2) -> list[float]:
    return [
        learning_rate(step, steps=steps, rate=3.0, warmup=warmup, schedule=schedule)
        for step in range(steps)
    ]


def test_rises_linearly_then_falls_to_nearly_zero() -> None:
    """10 steps, 2 of them rising: 1/3, 2/3, then (1 - n/8) to the power of 0.9."""
    found = rates("poly")

    assert found[:3] == pytest.approx([1.0, 2.0, 3.0])
    assert found[6] == pytest.approx(3 * 0.5**0.9)
    assert found[9] == pytest.approx(3 * 0.125**0.9)
    assert found[2:] == sorted(found[2:], reverse=True)


def test_cosine_is_half_way_in_the_middle() -> None:
    """After the same rise: the top, 3/4 of the half wave at 1/3, a half at 1/2."""
    found = rates("cosine", steps=14, warmup=1 / 7)

    assert found[:3] == pytest.approx([1.0, 2.0, 3.0])
    assert found[6] == pytest.approx(3 * 0.75)
    assert found[8] == pytest.approx(1.5)
    assert 0 < found[13] < 0.06


def test_one_cycle_is_pytorchs() -> None:
    """20 steps of which 6 rise; PyTorch counts its share so that the top is the step before."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    library = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3.0, total_steps=20, pct_start=0.35, cycle_momentum=False
    )
    expected = []
    for _ in range(20):
        expected.append(library.get_last_lr()[0])
        optimizer.step()
        if len(expected) < 20:
            library.step()

    assert rates("one-cycle", steps=20, warmup=0.3) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_warm_up_it_starts_at_the_top(schedule: str) -> None:
    """A single step is the whole schedule."""
    assert learning_rate(0, steps=1, rate=0.5, warmup=0.0, schedule=schedule) == 0.5
    assert learning_rate(0, steps=5, rate=0.5, warmup=0.0, schedule=schedule) == 0.5


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


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_run_of_an_earlier_version_keeps_its_arithmetic(optimizer: str) -> None:
    """Its state is of an optimizer that is not fused, and the rest of the run has the bits that it
    would have had there.
    """
    recipe = Recipe(optimizer=optimizer)
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3)
    twin = nn.Conv2d(3, 4, 3)
    former, ours = make_optimizer(layer, recipe), make_optimizer(twin, recipe)
    for group in former.param_groups:
        group["fused"] = None
    image = torch.randn(2, 3, 8, 8)

    def step(network: nn.Module, with_optimizer: torch.optim.Optimizer) -> None:
        with_optimizer.zero_grad()
        network(image).square().sum().backward()
        with_optimizer.step()

    step(layer, former)
    twin.load_state_dict(layer.state_dict())
    ours.load_state_dict(copy.deepcopy(former.state_dict()))
    step(layer, former)
    step(twin, ours)

    assert torch.equal(layer.weight, twin.weight)
    assert torch.equal(layer.bias, twin.bias)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_fused_step_is_that_of_single_tensors(optimizer: str) -> None:
    """Also of weights that are channels last, whose gradients have to lie as they do."""
    torch.manual_seed(0)
    weights = []
    image = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    layer = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)

    for fused in (True, False):
        network = copy.deepcopy(layer)
        trained = make_optimizer(network, Recipe(optimizer=optimizer, lr=0.01))
        assert all(group["fused"] for group in trained.param_groups)
        for group in trained.param_groups:
            group["fused"] = fused
        for _ in range(3):
            trained.zero_grad()
            network(image).square().mean().backward()
            trained.step()
        weights.append(network.weight.detach())

    torch.testing.assert_close(weights[0], weights[1])
    assert not torch.equal(weights[0], layer.weight)
