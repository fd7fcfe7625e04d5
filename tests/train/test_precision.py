"""Mixed precision on a processor: what stays in float32, what is refused, and what is chosen."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from segdeploy import models
from segdeploy.models.deployed import Deployed
from segdeploy.train.loop import Loop
from segdeploy.train.precision import (
    LONG,
    Precision,
    Trial,
    choose_precision,
    is_dilated_depthwise,
    keep_in_float32,
    random_batch,
    repeats,
)
from segdeploy.train.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

HALF = torch.bfloat16


class Steps:
    """A clock, and a trial whose steps take as long as it is told."""

    def __init__(self, *, half: float, single: float) -> None:
        self.now, self.count = 0.0, 0
        self._seconds = {HALF: half, None: single}

    def trial(self, precision: Precision) -> list[Tensor]:
        self.now += self._seconds[precision]
        self.count += 1
        return [torch.ones(2)]

    def clock(self) -> float:
        return self.now


def unstable(precision: Precision) -> list[Tensor]:
    """Gradients that differ each time in half precision."""
    return [torch.rand(2)] if precision else [torch.ones(2)]


@pytest.mark.parametrize(
    ("single", "expected", "sentence"),
    [
        (1.3, HALF, "mixed precision is on: a step takes 1000 ms with it and 1300 ms without"),
        (1.2, None, "mixed precision is off: a step takes 1000 ms with it and 1200 ms without"),
        (0.9, None, "mixed precision is off: a step takes 1000 ms with it and 900 ms without"),
    ],
)
def test_auto_takes_half_precision_where_it_is_clearly_faster(
    single: float, expected: Precision, sentence: str
) -> None:
    """Networks of depthwise convolutions are slower in bfloat16, and a small gain may be noise."""
    steps = Steps(half=1.0, single=single)

    choice = choose_precision(steps.trial, HALF, amp="auto", clock=steps.clock)

    assert (choice.precision, choice.reason) == (expected, sentence)


def test_steps_that_take_long_are_timed_once() -> None:
    """Three to see whether they repeat, one of each precision to time."""
    steps = Steps(half=LONG, single=LONG)

    choose_precision(steps.trial, HALF, amp="auto", clock=steps.clock)

    assert steps.count == 5


def test_what_the_user_says_is_not_measured() -> None:
    """`amp = true` and `false` are orders; without hardware there is nothing to choose."""
    steps = Steps(half=2.0, single=1.0)

    assert choose_precision(steps.trial, HALF, amp=True).precision == HALF
    assert choose_precision(steps.trial, HALF, amp=False).precision is None
    assert choose_precision(steps.trial, None, amp=True).precision is None


@pytest.mark.parametrize("amp", [True, "auto"])
def test_gradients_that_do_not_repeat_turn_half_precision_off(
    *,
    amp: bool | Literal["auto"],
) -> None:
    """Such a run would learn from what the memory held."""
    choice = choose_precision(unstable, HALF, amp=amp)

    assert choice.precision is None
    assert choice.reason == (
        "mixed precision is off: equal steps in bfloat16 had different gradients"
    )


def test_gradients_that_never_repeat_are_told() -> None:
    """A plugin's operation may add in any order; a run with it cannot be resumed to the bit."""
    choice = choose_precision(lambda _: [torch.rand(2)], None, amp="auto")

    assert "equal steps of this network had different gradients" in choice.reason


def test_equal_nans_are_no_difference() -> None:
    """What is wrong with such a network is not its precision."""
    assert repeats(lambda _: [torch.tensor([torch.nan])], HALF)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(4, 4, 3, dilation=2, groups=4), True),
        (nn.Conv2d(4, 4, 3, dilation=(1, 2), groups=4), True),
        (nn.ConvTranspose2d(4, 4, 3, dilation=2, groups=4), True),
        (nn.Conv2d(4, 4, 3, groups=4), False),
        (nn.Conv2d(4, 4, 3, dilation=2), False),
        (nn.Conv2d(4, 4, 3, dilation=2, groups=2), False),
        (nn.Conv2d(1, 4, 3, dilation=2), False),
        (nn.BatchNorm2d(4), False),
    ],
)
def test_dilated_depthwise_convolutions_are_found(layer: nn.Module, *, expected: bool) -> None:
    """Others have right gradients in bfloat16, and are faster in it."""
    assert is_dilated_depthwise(layer) == expected


def test_kept_layers_compute_in_float32_and_keep_their_names() -> None:
    """Weights stay where checkpoints have them, a copy has layers of its own, and the next layer
    gets the dtype that autocast would have given it.
    """
    layer = nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=16)
    network = nn.Sequential(layer, nn.Conv2d(16, 2, 1))
    names, features = list(network.state_dict()), torch.randn(1, 16, 8, 8)
    expected = layer(features)

    keep_in_float32(network)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        copied[0].weight.zero_()

    with torch.autocast("cpu", dtype=HALF):
        assert torch.equal(layer(features), expected)
        assert layer(features.bfloat16()).dtype == HALF
        assert network(features).dtype == HALF
    assert list(network.state_dict()) == names
    assert copied[0](features).amax() == copied[0].bias.amax()


def test_trial_leaves_everything_as_it_was() -> None:
    """Statistics of norms, gradients, random numbers and weights: a run that was resumed takes
    trials too, and must have the bits of one that was not.
    """
    torch.manual_seed(0)
    recipe = Recipe(epochs=1)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5))
    loop = Loop(Deployed(network, recipe.mean, recipe.std), recipe, torch.device("cpu"), steps=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    random = torch.get_rng_state()

    gradients = loop.trial(random_batch(Recipe(imgsz=(8, 8)), 2, classes=3), HALF)

    assert len(gradients) == 4
    assert loop.precision is None
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


ARGUMENTS: Mapping[str, Mapping[str, object]] = {
    "unet": {"width": 4},
    "deeplabv3plus": {"backbone": "mobilenet_v3_large"},
}

SIDES = {"fastscnn": 256, "deeplabv3plus": 384}
"""Large enough for the dilated depthwise layers of these networks to go wrong in bfloat16."""


def make_trial(model: str) -> Trial:
    torch.manual_seed(0)
    network = models.build(model, 3, **ARGUMENTS.get(model, {}))
    recipe = Recipe(model=model, epochs=1)
    loop = Loop(Deployed(network, recipe.mean, recipe.std), recipe, torch.device("cpu"), steps=1)
    side = SIDES.get(model, 128)
    return partial(loop.trial, random_batch(Recipe(imgsz=(side, side)), 2, classes=3))


@pytest.mark.slow
@pytest.mark.parametrize("precision", [None, HALF])
@pytest.mark.parametrize("model", models.names())
def test_equal_steps_have_the_same_bits(model: str, precision: Precision) -> None:
    """Of every network, in both precisions: the promise that a CPU is always deterministic."""
    assert repeats(make_trial(model), precision)


def test_gradient_of_a_kept_layer_is_that_of_float32() -> None:
    """Uninitialized memory may have the same bits twice, but not the right ones. The size is one
    at which PyTorch's gradient in bfloat16 is wrong, on a processor with bf16.
    """
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 16, 3, padding=4, dilation=4, groups=16, bias=False)
    layer = layer.to(memory_format=torch.channels_last)
    features = torch.randn(1, 16, 48, 64).to(memory_format=torch.channels_last)
    (expected,) = torch.autograd.grad(layer(features).square().sum(), layer.weight)

    keep_in_float32(layer)
    with torch.autocast("cpu", dtype=HALF):
        output = layer(features)
    (found,) = torch.autograd.grad(output.square().sum(), layer.weight)

    assert torch.equal(found, expected)
