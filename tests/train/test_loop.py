"""One step: what it learns from, and what it leaves alone."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from segdeploy.errors import SegdeployError
from segdeploy.models.deployed import Deployed
from segdeploy.train.augmentation import Tint
from segdeploy.train.distributed import ALONE
from segdeploy.train.loader import Batch
from segdeploy.train.loop import Loop, make_optimizer
from segdeploy.train.recipe import LOSSES, Recipe
from segdeploy.train.run_setup import settle

pytestmark = pytest.mark.usefixtures("one_thread")


class Dot(nn.Module):
    """The smallest network: one 1x1 convolution and a norm, two classes."""

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.norm(self.convolution(image))
        return answer


def batches(count: int, *, label: int | None = None) -> Iterator[Batch]:
    """Random images in which the bright ones' pixels are of class 1."""
    random = torch.Generator().manual_seed(0)
    for _ in range(count):
        images = torch.randint(0, 256, (2, 8, 8, 3), generator=random, dtype=torch.uint8)
        bright = (images.float().mean(3) > 127).to(torch.uint8)
        masks = bright if label is None else torch.full_like(bright, label)
        yield Batch(images, masks, torch.tensor([0, 1]), torch.empty(2, 0))


def make_loop(recipe: Recipe, *, steps: int) -> Loop:
    torch.manual_seed(0)
    return Loop(
        Deployed(Dot(), recipe.mean, recipe.std),
        replace(recipe, epochs=1),
        torch.device("cpu"),
        steps=steps,
    )


def learn(loop: Loop, pictures: Iterator[Batch]) -> float:
    return loop.epoch(0, pictures, names=("one.png", "two.png"), on_step=ignore)


def ignore(_: str) -> None:
    """No bar."""


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_labelled_gives_no_nan(loss: str) -> None:
    """A crop may hold nothing but padding, and must not break the weights."""
    loop = make_loop(Recipe(loss=loss), steps=2)

    mean = learn(loop, batches(2, label=255))

    assert mean == 0
    assert all(torch.isfinite(value).all() for value in loop.network.state_dict().values())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_loss_falls(optimizer: str) -> None:
    """Each optimizer learns what is easy."""
    loop = make_loop(Recipe(optimizer=optimizer, lr=0.05), steps=40)

    first = learn(loop, batches(20))
    loop.close_epoch()
    second = learn(loop, batches(20))

    assert second < 0.7 * first


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    """Hours spent on NaN help nobody; the sentence says what to change."""
    loop = make_loop(Recipe(lr=0.25), steps=2)
    with torch.no_grad():
        loop.network.network.get_parameter("convolution.weight").fill_(torch.nan)

    with pytest.raises(
        SegdeployError,
        match=r"nan in step 1, with the images one.png, two.png; .* lower --lr \(it is 0.25\)",
    ):
        learn(loop, batches(1))


def test_clipping_bounds_a_step_of_sgd() -> None:
    """At a rate of 1 without momentum the step is the gradient, of which the norm is bounded."""
    recipe = Recipe(optimizer="sgd", lr=1.0, momentum=0.0, warmup=0.0, weight_decay=0.0, clip=0.001)
    loop = make_loop(recipe, steps=1)
    before = [parameter.clone() for parameter in loop.network.parameters()]

    learn(loop, batches(1))

    moved = torch.cat(
        [(now - old).flatten() for now, old in zip(loop.network.parameters(), before, strict=True)]
    )
    assert moved.norm().item() == pytest.approx(0.001, rel=1e-3)


def test_only_weights_decay() -> None:
    """Norms and biases keep their values, as usual recipes have it."""
    groups = make_optimizer(Dot(), Recipe(weight_decay=0.3)).param_groups

    assert [(group["weight_decay"], len(group["params"])) for group in groups] == [
        (0.3, 1),
        (0.0, 3),
    ]


@pytest.mark.gpu
def test_half_precision_learns_on_a_device() -> None:
    """Mixed precision is the default there."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    recipe = Recipe(lr=0.05)
    loop = Loop(
        Deployed(Dot(), recipe.mean, recipe.std),
        replace(recipe, epochs=1),
        torch.device("cuda"),
        steps=40,
    )

    first = learn(loop, batches(20))
    loop.close_epoch()
    second = learn(loop, batches(20))

    assert second < 0.7 * first


def test_accumulated_batches_are_one_step_of_their_mean() -> None:
    """Without a norm two batches of two are a batch of four.

    A last group of one is a step of its own.
    """
    recipe = Recipe(optimizer="sgd", lr=0.5, momentum=0.0, warmup=0.0, weight_decay=0.0, clip=0.0)
    one, two, three = batches(3)
    joint = Batch(*(torch.cat(parts) for parts in zip(one, two, strict=True)))
    weights = []

    for accumulate, pictures in ((2, [one, two, three]), (1, [joint, three])):
        torch.manual_seed(0)
        network = Deployed(nn.Conv2d(3, 2, 1), recipe.mean, recipe.std)
        loop = Loop(
            network, replace(recipe, accumulate=accumulate, epochs=1), torch.device("cpu"), steps=2
        )
        learn(loop, iter(pictures))
        assert (loop.step, loop.done) == (2, 2)
        weights.append(network.network.weight.detach())

    torch.testing.assert_close(weights[0], weights[1])


def test_average_is_what_is_validated() -> None:
    """It is another network than the one that trains, and moves with it."""
    loop = make_loop(Recipe(ema=0.5, lr=0.1), steps=3)
    before = loop.answering.network.get_parameter("convolution.weight").clone()

    learn(loop, batches(3))

    after = loop.answering.network.get_parameter("convolution.weight")
    assert loop.answering is not loop.network
    assert not torch.equal(after, before)
    assert not torch.equal(after, loop.network.network.get_parameter("convolution.weight"))


@pytest.mark.gpu
@pytest.mark.parametrize("changes", [{"deterministic": True}, {"compile": True}, {"amp": False}])
def test_device_learns_in_every_way(changes: dict[str, bool]) -> None:
    """Colors changed by torchvision there, deterministic operations, and a compiled network."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    recipe = replace(Recipe(lr=0.05, epochs=1, loss="ce+dice+lovasz+ohem+focal"), **changes)
    settle(recipe, torch.device("cuda"), ALONE)
    loop = Loop(Deployed(Dot(), recipe.mean, recipe.std), recipe, torch.device("cuda"), steps=40)
    tints = torch.tensor(
        [Tint(brightness=1.1, hue=0.05, blur=0.5).numbers()] * 2, dtype=torch.float64
    )

    try:
        first = learn(loop, (batch._replace(tints=tints) for batch in batches(20)))
        loop.close_epoch()
        second = learn(loop, (batch._replace(tints=tints) for batch in batches(20)))
    finally:
        torch.use_deterministic_algorithms(mode=False)

    assert second < first
