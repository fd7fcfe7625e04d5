"""What every network must do, and what each one is."""

import io
import json
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from segdeploy import models
from segdeploy.cli.models import models as list_networks
from segdeploy.cli.models import show
from segdeploy.errors import ConfigError
from segdeploy.models.complexity import Cost, parameters
from segdeploy.models.complexity import measure_complexity as measure

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = 5


CASES = [
    *((name, {}) for name in models.names() if name != "deeplabv3plus"),
    ("lightfpn", {"backbone": "mobilenet_v3_large", "width": 16, "finest": 4}),
    ("deeplabv3plus", {"backbone": "mobilenet_v3_large", "output_stride": 8}),
    ("deeplabv3plus", {"backbone": "timm:mobilenetv3_small_050"}),
]
"""Every network, those with a backbone with the small ones."""

LARGE = [("deeplabv3plus", {"backbone": name}) for name in ("resnet50", "xception")]
"""What has tens of millions of weights learns and answers in one test each; the encoders' own tests
hold the rest."""

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


def answers(network: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """All answers, the auxiliary ones of a training network included."""
    answer = network(images)
    return answer if isinstance(answer, tuple) else (answer,)


def sides(network: nn.Module, *wished: int) -> list[int]:
    """Round up to what the network takes."""
    return [-(-side // network.stride) * network.stride for side in wished]


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 31), (33, 64), (45, 1)])
def test_answers_odd_and_tiny_sizes(network: nn.Module, size: tuple[int, int]) -> None:
    """A user's image has any size, and no layer may vanish or refuse on the way down."""
    height, width = sides(network, *size)

    logits = network(torch.rand(2, 3, height, width))

    assert logits.shape[:2] == (2, CLASSES)
    assert torch.isfinite(logits).all()


def dead_weights(network: nn.Module) -> list[str]:
    """Names of the weights that no gradient reaches."""
    height, width = sides(network, 65, 130)
    sum(
        answer.square().sum()
        for answer in answers(network.train(), torch.rand(3, 3, height, width))
    ).backward()
    return [
        key
        for key, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.abs().sum() > 0
    ]


def test_gradient_reaches_every_weight(case: Case) -> None:
    """A weight that learns nothing is a mistake in the wiring."""
    torch.manual_seed(0)

    assert dead_weights(build(case)) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("case", LARGE, ids=lambda case: case[1]["backbone"])
def test_large_network_learns_and_answers_odd_sizes(case: Case) -> None:
    """As the small ones, and in TorchScript."""
    torch.manual_seed(0)
    network = build(case)

    assert dead_weights(network) == []
    with torch.no_grad():
        image = torch.rand(1, 3, 4, 36)
        assert network.eval()(image).shape == (1, CLASSES, 1, 9)
        assert torch.equal(torch.jit.script(network)(image), network(image))


def test_least_batch_is_the_least_that_trains(case: Case) -> None:
    """The trainer looks at it before the first step.

    Whoever needs no second image must not ask for one.
    """
    network = build(case).train()
    images = torch.rand(1, 3, *sides(network, 65, 130))

    if getattr(network, "least_batch", 1) == 1:
        assert answers(network, images)
    else:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            network(images)


@torch.no_grad()
def test_auxiliary_heads_answer_in_training_only(case: Case) -> None:
    """What runs is one network with one answer; the heads that help to learn cost nothing there."""
    network = build(case)
    images = torch.rand(2, 3, *sides(network, 65, 130))

    training = answers(network.train(), images)
    running = answers(network.eval(), images)

    # One channel: where classes meet, as PIDNet's boundary branch tells it.
    assert {answer.shape[1] for answer in training} <= {CLASSES, 1}
    assert (len(training) > 1) == hasattr(network, "auxiliary")
    assert [answer.shape for answer in running] == [training[0].shape]


@torch.no_grad()
def test_logits_are_the_picture_divided_by_a_whole_number(network: nn.Module) -> None:
    """The mask is made by enlarging them to the image; any other ratio would shift it."""
    height, width = sides(network, 360, 120)

    logits = network(torch.rand(1, 3, height, width))

    factor = height // logits.shape[2]
    assert logits.shape[2:] == (height // factor, width // factor)
    assert (height % factor, width % factor) == (0, 0)


@torch.no_grad()
def test_answers_alike_after_save_and_load(network: nn.Module, case: Case) -> None:
    """What a checkpoint carries is the whole network."""
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    image = torch.rand(1, 3, *sides(network, 40, 56))

    again = build(case).eval()
    again.load_state_dict(torch.load(file, weights_only=True))

    assert torch.equal(again(image), network(image))


def test_same_seed_gives_the_same_weights(case: Case) -> None:
    """A run can be made again from its recipe."""
    torch.manual_seed(7)
    first = build(case).state_dict()
    torch.manual_seed(7)
    second = build(case).state_dict()

    assert all(torch.equal(first[key], second[key]) for key in first)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_can_be_traced_for_any_size(network: nn.Module) -> None:
    """A trace freezes what Python decides; it must be nothing that the size changes."""
    traced = torch.jit.trace(network, torch.rand(1, 3, *sides(network, 72, 88)), check_trace=False)
    image = torch.rand(2, 3, *sides(network, 24, 41))

    torch.testing.assert_close(traced(image), network(image), atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_can_be_scripted(network: nn.Module) -> None:
    """Whoever builds a network into a module of his own that branches needs the language, not a
    trace of one image.
    """
    scripted = torch.jit.script(network)
    images = [
        torch.rand(1, 3, *sides(network, 64, 96)),
        torch.rand(2, 3, *sides(network, 33, 45)),
    ]

    assert all(torch.equal(scripted(image), network(image)) for image in images)


@torch.no_grad()
def test_one_picture_does_not_change_the_next(network: nn.Module) -> None:
    """In evaluation each image of a batch is answered as if it were alone."""
    images = torch.rand(3, 3, *sides(network, 32, 48))

    together = network(images)
    alone = torch.cat([network(image[None]) for image in images])

    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_unknown_name_and_argument_are_told() -> None:
    """A typing mistake in a recipe is a sentence and not a traceback."""
    with pytest.raises(ConfigError, match="choose one of"):
        models.build("unett", 2)
    with pytest.raises(ConfigError, match="wdth"):
        models.build("unet", 2, wdth=8)


@pytest.mark.parametrize("arguments", [{"width": 0}, {"depth": 0}, {"depth": 9}])
def test_unet_refuses_what_cannot_be(arguments: dict[str, int]) -> None:
    """The check stands at the door, not in the middle of a run."""
    with pytest.raises(ConfigError, match="cannot be"):
        models.build("unet", 2, **arguments)


def test_unet_counts_the_parameters_of_the_paper() -> None:
    """Level by level: two 3x3 convolutions each with a norm (2 numbers a channel), 1x1 instead of
    the transposed 2x2.
    """

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
    """The top left part of an image is answered alike whether the image's sides are odd or even."""
    torch.manual_seed(0)
    network = models.build("unet", 2, width=4, depth=3).eval()
    image = torch.rand(1, 3, 160, 160)

    even = network(image)
    odd = network(image[:, :, :157, :155])

    # Beyond the receptive field of the bottom (its two 3x3 convolutions reach 8 x 4 pixels, the
    # others less) nothing may differ.
    torch.testing.assert_close(odd[:, :, :80, :80], even[:, :, :80, :80], atol=1e-5, rtol=1e-5)


def test_cost_of_unet_worked_out_by_hand() -> None:
    """Two operations a multiplication: width 32 at one pixel's cost, level by level."""
    cost = measure("unet", classes=19, height=64, width=128)

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
    assert cost.gflops == pytest.approx(expected)
    assert cost.stride == 1


@pytest.mark.slow
def test_models_lists_every_network() -> None:
    """A program chooses from it, or checks what it may ask for."""
    listed = CliRunner().invoke(list_networks, ["--json"])

    assert [entry["name"] for entry in json.loads(listed.output)] == models.names()
    assert all(entry["parameters"] > 0 for entry in json.loads(listed.output))


def test_models_shows_a_line_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    """A person reads the numbers in columns."""
    show({"fast": Cost(parameters=1_137_795, gflops=3.357, height=512, width=1024, stride=8)})

    title, line = capsys.readouterr().out.splitlines()
    assert title.split() == ["name", "parameters", "GFLOPs", "at", "512x1024", "stride"]
    assert line.split() == ["fast", "1,137,795", "3.4", "8"]


PAPERS = [
    ("ddrnet23slim", {}, 5.7),
    ("ddrnet23slim", {"width": 64}, 20.1),
    ("pidnet_s", {}, 7.6),
    ("regseg", {}, 3.34),
    ("bisenetv2", {}, 3.36),
]
"""Parameters, in millions, with 19 classes and without auxiliary heads. BiSeNetV2's paper has none;
these are its reimplementations'."""


@pytest.mark.parametrize(("name", "arguments", "millions"), PAPERS)
def test_has_the_parameters_of_the_paper(
    name: str, arguments: dict[str, int], millions: float
) -> None:
    """A layer too many, too few or too wide would show here.

    Six tenths of the last digit are left to the paper's rounding.
    """
    with torch.device("meta"):
        network = models.build(name, 19, **arguments)

    digits = len(str(millions).partition(".")[2])
    assert parameters(network) / 1e6 == pytest.approx(millions, abs=0.6 * 10**-digits)


def test_fastscnn_has_the_parameters_of_the_paper() -> None:
    """1.11 million with 19 classes, in convolutions alone.

    The norms, which fold away, have 0.02 more.
    """
    with torch.device("meta"):
        network = models.build("fastscnn", 19)
    del network.auxiliary

    norms = sum(
        values.numel()
        for part in network.modules()
        if isinstance(part, nn.BatchNorm2d)
        for values in part.parameters()
    )
    assert round((parameters(network) - norms) / 1e6, 2) == 1.11


GFLOPS = [("ddrnet23slim", 36.3), ("pidnet_s", 47.6), ("regseg", 39.1)]
"""Multiply-adds of the papers at 1024x2048, in thousands of millions."""


@pytest.mark.parametrize(("name", "multiply_adds"), GFLOPS)
def test_costs_what_the_paper_tells(name: str, multiply_adds: float) -> None:
    """What runs at the wrong resolution has the right parameters all the same.

    2% are left to what a counter counts.
    """
    cost = measure(name, classes=19, height=1024, width=2048)

    assert cost.gflops / 2 == pytest.approx(multiply_adds, rel=0.02)
