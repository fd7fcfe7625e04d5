"""Properties of every network, and the numbers of each."""

import io
from typing import Any

import pytest
import torch
from torch import nn

from segdeploy import models
from segdeploy.errors import ConfigError
from segdeploy.models.complexity import count_parameters, measure_complexity

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = 5


CASES = [
    *((name, {}) for name in models.names() if name != "deeplabv3plus"),
    ("lightfpn", {"backbone": "mobilenet_v3_large", "width": 16, "finest": 4}),
    ("deeplabv3plus", {"backbone": "mobilenet_v3_large", "output_stride": 8}),
    ("deeplabv3plus", {"backbone": "timm:mobilenetv3_small_050"}),
]
"""Every network; those with a backbone have a small one."""

LARGE = [("deeplabv3plus", {"backbone": name}) for name in ("resnet50", "xception")]
"""Networks of tens of millions of weights have one test each, besides the tests of the encoders."""

Case = tuple[str, dict[str, Any]]


@pytest.fixture(
    params=CASES, ids=lambda case: "-".join(map(str, (case[0], *case[1].values()))), scope="module"
)
def case(request: pytest.FixtureRequest) -> Case:
    name, arguments = request.param
    if "timm" in str(arguments):
        pytest.importorskip("timm")
    return name, arguments


def build(case: Case) -> nn.Module:
    name, arguments = case
    return models.build(name, CLASSES, **arguments)


@pytest.fixture(scope="module")
def network(case: Case) -> nn.Module:
    torch.manual_seed(0)
    return build(case).eval()


def all_logits(network: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return all logits, including the auxiliary ones in training mode."""
    output = network(images)
    return output if isinstance(output, tuple) else (output,)


def round_up(network: nn.Module, *sides: int) -> list[int]:
    """Return sides rounded up to multiples of the network's stride."""
    return [-(-side // network.stride) * network.stride for side in sides]


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 31), (33, 64), (45, 1)])
def test_takes_odd_and_tiny_images(network: nn.Module, size: tuple[int, int]) -> None:
    """Images have any size, and no layer may shrink to nothing."""
    height, width = round_up(network, *size)

    logits = network(torch.rand(2, 3, height, width))

    assert logits.shape[:2] == (2, CLASSES)
    assert torch.isfinite(logits).all()


def dead_weights(network: nn.Module) -> list[str]:
    """Return the names of the weights that no gradient reaches."""
    height, width = round_up(network, 65, 130)
    sum(
        logits.square().sum()
        for logits in all_logits(network.train(), torch.rand(3, 3, height, width))
    ).backward()
    return [
        key
        for key, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.abs().sum() > 0
    ]


def test_gradient_reaches_every_weight(case: Case) -> None:
    """A weight without a gradient is not connected."""
    torch.manual_seed(0)

    assert dead_weights(build(case)) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("case", LARGE, ids=lambda case: case[1]["backbone"])
def test_large_network_learns_and_takes_odd_images(case: Case) -> None:
    """Like the small ones, and in TorchScript."""
    torch.manual_seed(0)
    network = build(case)

    assert dead_weights(network) == []
    with torch.no_grad():
        image = torch.rand(1, 3, 4, 36)
        assert network.eval()(image).shape == (1, CLASSES, 1, 9)
        assert torch.equal(torch.jit.script(network)(image), network(image))


def test_least_batch_is_the_least_that_trains(case: Case) -> None:
    """The trainer checks it before the first step; a network that needs no second image has 1."""
    network = build(case).train()
    images = torch.rand(1, 3, *round_up(network, 65, 130))

    if getattr(network, "least_batch", 1) == 1:
        assert all_logits(network, images)
    else:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            network(images)


@torch.no_grad()
def test_auxiliary_heads_run_in_training_only(case: Case) -> None:
    """At inference they cost nothing."""
    network = build(case)
    images = torch.rand(2, 3, *round_up(network, 65, 130))

    training = all_logits(network.train(), images)
    evaluation = all_logits(network.eval(), images)

    # One channel: the boundary branch of PIDNet.
    assert {logits.shape[1] for logits in training} <= {CLASSES, 1}
    assert (len(training) > 1) == hasattr(network, "auxiliary")
    assert [logits.shape for logits in evaluation] == [training[0].shape]


@torch.no_grad()
def test_logits_have_an_integer_stride(network: nn.Module) -> None:
    """They are upsampled to the image; any other ratio would shift the mask."""
    height, width = round_up(network, 360, 120)

    logits = network(torch.rand(1, 3, height, width))

    factor = height // logits.shape[2]
    assert logits.shape[2:] == (height // factor, width // factor)
    assert (height % factor, width % factor) == (0, 0)


@torch.no_grad()
def test_state_dict_is_the_whole_network(network: nn.Module, case: Case) -> None:
    """Saved and loaded again, the network returns the same logits."""
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    image = torch.rand(1, 3, *round_up(network, 40, 56))

    again = build(case).eval()
    again.load_state_dict(torch.load(file, weights_only=True))

    assert torch.equal(again(image), network(image))


def test_same_seed_gives_the_same_weights(case: Case) -> None:
    """A run is reproducible from its recipe."""
    torch.manual_seed(7)
    first = build(case).state_dict()
    torch.manual_seed(7)
    second = build(case).state_dict()

    assert all(torch.equal(first[key], second[key]) for key in first)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_can_be_traced_for_any_size(network: nn.Module) -> None:
    """A trace freezes Python's branches, so none of them may depend on the size."""
    traced = torch.jit.trace(
        network, torch.rand(1, 3, *round_up(network, 72, 88)), check_trace=False
    )
    image = torch.rand(2, 3, *round_up(network, 24, 41))

    # The one call would spend its time on a profile for later calls.
    with torch.jit.optimized_execution(should_optimize=False):
        logits = traced(image)

    torch.testing.assert_close(logits, network(image), atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_can_be_scripted(network: nn.Module) -> None:
    """A user's module that branches around the network needs scripting, not a trace."""
    scripted = torch.jit.script(network)
    images = [
        torch.rand(1, 3, *round_up(network, 64, 96)),
        torch.rand(2, 3, *round_up(network, 33, 45)),
    ]

    assert all(torch.equal(scripted(image), network(image)) for image in images)


@torch.no_grad()
def test_images_of_a_batch_are_independent(network: nn.Module) -> None:
    """In evaluation mode each image gives the same logits as alone."""
    images = torch.rand(3, 3, *round_up(network, 32, 48))

    together = network(images)
    alone = torch.cat([network(image[None]) for image in images])

    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_unknown_name_and_argument_are_refused() -> None:
    """A typo in a recipe gives a sentence, not a traceback."""
    with pytest.raises(ConfigError, match="choose one of"):
        models.build("unett", 2)
    with pytest.raises(ConfigError, match="wdth"):
        models.build("unet", 2, wdth=8)


@pytest.mark.parametrize("arguments", [{"width": 0}, {"depth": 0}, {"depth": 9}])
def test_unet_checks_width_and_depth(arguments: dict[str, int]) -> None:
    """When it is built, not in the middle of a run."""
    with pytest.raises(ConfigError, match="cannot have width"):
        models.build("unet", 2, **arguments)


def test_unet_counts_the_parameters_of_the_paper() -> None:
    """Level by level: two 3x3 convolutions with batch norm, and 1x1 instead of transposed 2x2."""

    def pair(channels: int, out: int) -> int:
        return 9 * channels * out + 9 * out * out + 4 * out

    encoder = pair(3, 64) + pair(64, 128) + pair(128, 256) + pair(256, 512) + pair(512, 1024)
    reduce = sum(2 * fine * fine + fine for fine in (64, 128, 256, 512))
    decoder = sum(pair(2 * fine, fine) for fine in (64, 128, 256, 512))

    network = models.build("unet", 2, width=64)

    assert (
        sum(weight.numel() for weight in network.parameters())
        == encoder + reduce + decoder + 64 * 2 + 2
    )


@torch.no_grad()
def test_unet_moves_no_pixel_on_odd_sizes() -> None:
    """The top left part of an image has the same logits whether its sides are odd or even."""
    torch.manual_seed(0)
    network = models.build("unet", 2, width=4, depth=3).eval()
    image = torch.rand(1, 3, 160, 160)

    even = network(image)
    odd = network(image[:, :, :157, :155])

    # Beyond the receptive field of the bottom (its two 3x3 convolutions reach 8 x 4 pixels, the
    # others less) nothing may differ.
    torch.testing.assert_close(odd[:, :, :80, :80], even[:, :, :80, :80], atol=1e-5, rtol=1e-5)


def test_gflops_of_unet_worked_out_by_hand() -> None:
    """Two operations per multiplication: width 32, level by level."""
    complexity = measure_complexity("unet", classes=19, height=64, width=128)

    def pair(channels: int, out: int) -> int:
        return 9 * channels * out + 9 * out * out

    # Each level has a quarter of the pixels of the one above; the 1x1 runs at the coarse level.
    encoder = sum(
        pair(channels, 32 << level) / 4**level
        for level, channels in enumerate((3, 32, 64, 128, 256))
    )
    decoder = sum(
        (pair(64 << level, 32 << level) + (2 * (32 << level) ** 2) / 4) / 4**level
        for level in range(4)
    )
    expected = 2 * 64 * 128 * (encoder + decoder + 32 * 19) / 1e9
    assert complexity.gflops == pytest.approx(expected)
    assert complexity.stride == 1


PAPERS = [
    ("ddrnet23slim", {}, 5.7),
    ("ddrnet23slim", {"width": 64}, 20.1),
    ("pidnet_s", {}, 7.6),
    ("regseg", {}, 3.34),
    ("bisenetv2", {}, 3.36),
]
"""Parameters in millions, with 19 classes and without auxiliary heads. BiSeNetV2's paper states
none; these are those of its reimplementations."""


@pytest.mark.parametrize(("name", "arguments", "millions"), PAPERS)
def test_has_the_parameters_of_the_paper(
    name: str, arguments: dict[str, int], millions: float
) -> None:
    """A layer too many, too few or too wide would show, within the rounding of the paper."""
    with torch.device("meta"):
        network = models.build(name, 19, **arguments)

    digits = len(str(millions).partition(".")[2])
    assert count_parameters(network) / 1e6 == pytest.approx(millions, abs=0.6 * 10**-digits)


def test_fastscnn_has_the_parameters_of_the_paper() -> None:
    """1.11 million with 19 classes in convolutions; batch norms, which are folded, have 0.02."""
    with torch.device("meta"):
        network = models.build("fastscnn", 19)
    del network.auxiliary

    norms = sum(
        values.numel()
        for part in network.modules()
        if isinstance(part, nn.BatchNorm2d)
        for values in part.parameters()
    )
    assert round((count_parameters(network) - norms) / 1e6, 2) == 1.11


GFLOPS = [("ddrnet23slim", 36.3), ("pidnet_s", 47.6), ("regseg", 39.1)]
"""Multiply-adds of the papers at 1024x2048, in billions."""


@pytest.mark.parametrize(("name", "multiply_adds"), GFLOPS)
def test_has_the_multiply_adds_of_the_paper(name: str, multiply_adds: float) -> None:
    """A layer at the wrong resolution has the right parameters, but not the operations.

    Counters differ by up to 2%.
    """
    complexity = measure_complexity(name, classes=19, height=1024, width=2048)

    assert complexity.gflops / 2 == pytest.approx(multiply_adds, rel=0.02)
