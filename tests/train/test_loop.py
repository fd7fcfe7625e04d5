"""The training loop: steps, and what happens between steps."""

from collections.abc import Callable, Iterator

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from segdeploy.errors import SegdeployError
from segdeploy.models.deployed import Deployed
from segdeploy.system.signals import StopRequest
from segdeploy.train.augmentation import ColorJitter
from segdeploy.train.distributed import SINGLE_PROCESS
from segdeploy.train.loader import Batch
from segdeploy.train.loop import Loop
from segdeploy.train.monitor import SAVE_EVERY, StepMonitor, TrainingStopped
from segdeploy.train.recipe import LOSSES, Recipe
from segdeploy.train.run_setup import seed_everything

pytestmark = pytest.mark.usefixtures("one_thread")

CPU_PRECISIONS = [None, torch.bfloat16]
"""Of CPUs without and with bfloat16 in hardware; the others emulate it."""


class Dot(nn.Module):
    """The smallest network: one 1x1 convolution and a norm, two classes."""

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.norm(self.convolution(image))
        return output


def batches(count: int, *, label: int | None = None) -> Iterator[Batch]:
    """Random images in which the bright ones' pixels are of class 1."""
    random = torch.Generator().manual_seed(0)
    for _ in range(count):
        images = torch.randint(0, 256, (2, 8, 8, 3), generator=random, dtype=torch.uint8)
        bright = (images.float().mean(3) > 127).to(torch.uint8)
        masks = bright if label is None else torch.full_like(bright, label)
        yield Batch(images, masks, torch.tensor([0, 1]), torch.empty(2, 0))


def make_loop(recipe: Recipe, *, steps: int, precision: torch.dtype | None = None) -> Loop:
    torch.manual_seed(0)
    return Loop(
        Deployed(Dot(), recipe.mean, recipe.std),
        replace(recipe, epochs=1),
        torch.device("cpu"),
        steps=steps,
        precision=precision,
    )


def learn(loop: Loop, group: Iterator[Batch]) -> float:
    return loop.epoch(0, group, names=("one.png", "two.png"), on_step=ignore)


def ignore(_: str) -> None:
    """No bar."""


@pytest.mark.parametrize("precision", CPU_PRECISIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_labeled_gives_no_nan(loss: str, precision: torch.dtype | None) -> None:
    """A crop may contain only padding, and must not break the weights."""
    loop = make_loop(Recipe(loss=loss), steps=2, precision=precision)

    mean = learn(loop, batches(2, label=255))

    assert mean == 0
    assert all(torch.isfinite(value).all() for value in loop.network.state_dict().values())


@pytest.mark.parametrize("precision", CPU_PRECISIONS)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_loss_falls(optimizer: str, precision: torch.dtype | None) -> None:
    """Each optimizer learns what is easy, in single precision and by autocast."""
    loop = make_loop(Recipe(optimizer=optimizer, lr=0.05), steps=40, precision=precision)

    first = learn(loop, batches(20))
    loop.close_epoch()
    second = learn(loop, batches(20))

    assert second < 0.7 * first


def test_loss_of_nan_stops_the_run() -> None:
    """Hours of training with NaN would be lost; the message names the cause, then what to change,
    and the images last."""
    loop = make_loop(Recipe(lr=0.25), steps=2)
    with torch.no_grad():
        loop.network.network.get_parameter("convolution.weight").fill_(torch.nan)

    with pytest.raises(
        SegdeployError,
        match=r"in step 1: network.convolution.weight was no longer finite before this step: .*;"
        r" lower --lr \(it is 0.25\), or check the images of the step: one.png, two.png",
    ):
        learn(loop, batches(1))


class Unstable(Dot):
    """Divides by the number of dark pixels, of which there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.division = Division()

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(self.division(image))


class Division(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image / (image < -100).sum()


class Root(nn.Module):
    """Has a finite output, and at 0 an infinite derivative."""

    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 1, bias=False)
        nn.init.zeros_(self.convolution.weight)

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image).abs().sqrt()


@pytest.mark.parametrize("precision", CPU_PRECISIONS)
@pytest.mark.parametrize(
    ("network", "cause"),
    [
        (Unstable, r"the first layer with such a value is network.division \(Division\)"),
        (Root, "the first gradient with such a value is that of network.convolution.weight"),
    ],
)
def test_weights_survive_a_step_that_is_not_finite(
    network: Callable[[], nn.Module], cause: str, precision: torch.dtype | None
) -> None:
    """On a processor the step is not taken, and the layer that began is named."""
    recipe = Recipe(epochs=1)
    deployed = Deployed(network(), recipe.mean, recipe.std)
    loop = Loop(deployed, recipe, torch.device("cpu"), steps=2, precision=precision)
    before = [weight.clone() for weight in loop.network.parameters()]

    with pytest.raises(SegdeployError, match=f"in step 1: {cause}; lower --lr"):
        learn(loop, batches(1))

    after = list(loop.network.parameters())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


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


@pytest.mark.gpu
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_learns_on_a_device(precision: torch.dtype) -> None:
    """Mixed precision is the default there; float16 needs scaled gradients."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    recipe = Recipe(lr=0.05)
    loop = Loop(
        Deployed(Dot(), recipe.mean, recipe.std),
        replace(recipe, epochs=1),
        torch.device("cuda"),
        steps=40,
        precision=precision,
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

    for accumulate, group in ((2, [one, two, three]), (1, [joint, three])):
        torch.manual_seed(0)
        network = Deployed(nn.Conv2d(3, 2, 1), recipe.mean, recipe.std)
        loop = Loop(
            network, replace(recipe, accumulate=accumulate, epochs=1), torch.device("cpu"), steps=2
        )
        learn(loop, iter(group))
        assert (loop.step, loop.done) == (2, 2)
        weights.append(network.network.weight.detach())

    torch.testing.assert_close(weights[0], weights[1])


def test_moving_average_is_what_is_validated() -> None:
    """It is a copy of the network that trains, and follows it."""
    loop = make_loop(Recipe(ema=0.5, lr=0.1), steps=3)
    before = loop.evaluated.network.get_parameter("convolution.weight").clone()

    learn(loop, batches(3))

    after = loop.evaluated.network.get_parameter("convolution.weight")
    assert loop.evaluated is not loop.network
    assert not torch.equal(after, before)
    assert not torch.equal(after, loop.network.network.get_parameter("convolution.weight"))


@pytest.mark.gpu
@pytest.mark.parametrize("changes", [{"deterministic": True}, {"compile": True}, {}])
def test_device_trains_in_every_mode(changes: dict[str, bool]) -> None:
    """Colors changed by torchvision there, deterministic operations, and a compiled network."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    recipe = replace(Recipe(lr=0.05, epochs=1, loss="ce+dice+lovasz+ohem+focal"), **changes)
    seed_everything(recipe, torch.device("cuda"), SINGLE_PROCESS)
    loop = Loop(Deployed(Dot(), recipe.mean, recipe.std), recipe, torch.device("cuda"), steps=40)
    jitter = torch.tensor(
        [ColorJitter(brightness=1.1, hue=0.05, blur=0.5).to_numbers()] * 2, dtype=torch.float64
    )

    try:
        first = learn(loop, (batch._replace(jitter=jitter) for batch in batches(20)))
        loop.close_epoch()
        second = learn(loop, (batch._replace(jitter=jitter) for batch in batches(20)))
    finally:
        torch.use_deterministic_algorithms(mode=False)

    assert second < first


class MemoryLimited(nn.Module):
    """A network that runs out of memory above a number of images."""

    stride = 1

    def __init__(self, most: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 1)
        self._most = most

    def forward(self, image: Tensor) -> Tensor:
        if len(image) > self._most:
            msg = "CUDA out of memory"
            raise torch.OutOfMemoryError(msg)
        output: Tensor = self.convolution(image)
        return output


@pytest.mark.parametrize(
    ("most", "sentence"),
    [
        (
            3,
            (
                "a batch of 16 does not fit into the memory of cpu, and 2 does, .* --batch 2, and"
                " with --accumulate 8 "
            ),
        ),
        (0, "not even one image fits into the memory of cpu; lower --imgsz"),
    ],
)
def test_step_without_enough_memory_names_a_batch_that_fits(most: int, sentence: str) -> None:
    """It is tried, by halves, with a whole step: 8, 4, 2."""
    recipe = Recipe(epochs=1)
    loop = Loop(
        Deployed(MemoryLimited(most), recipe.mean, recipe.std), recipe, torch.device("cpu"), steps=1
    )
    batch = Batch(
        torch.zeros(16, 8, 8, 3, dtype=torch.uint8),
        torch.zeros(16, 8, 8, dtype=torch.uint8),
        torch.arange(16),
        torch.empty(16, 0),
    )

    with pytest.raises(SegdeployError, match=sentence):
        loop.epoch(0, [batch], names=(), on_step=lambda _: None)


class Clock:
    """Shows what it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_saves_at_intervals() -> None:
    """A step after ten minutes, none after eleven, one after twenty."""
    clock, saved = Clock(), []
    monitor = StepMonitor(
        StopRequest(), lambda: saved.append(clock.now), SINGLE_PROCESS, show=ignore, clock=clock
    )

    for clock.now in (SAVE_EVERY - 1, SAVE_EVERY, SAVE_EVERY + 60, 2 * SAVE_EVERY):
        monitor("a step")

    assert saved == [SAVE_EVERY, 2 * SAVE_EVERY]


def test_saves_before_it_stops() -> None:
    """A requested stop loses no step."""
    stop, saved = StopRequest(), []
    monitor = StepMonitor(
        stop, lambda: saved.append(True), SINGLE_PROCESS, show=ignore, clock=Clock()
    )

    monitor("a step")
    stop.on_signal(15, None)
    with pytest.raises(TrainingStopped):
        monitor("a step")

    assert saved == [True]


def test_second_signal_interrupts_at_once() -> None:
    """As Ctrl-C does everywhere else."""
    stop = StopRequest()
    stop.on_signal(2, None)

    with pytest.raises(KeyboardInterrupt):
        stop.on_signal(2, None)
