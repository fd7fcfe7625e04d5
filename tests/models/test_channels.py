"""Every network takes images of other channels, and keeps what it learned from colors."""

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from segdeploy import models
from segdeploy.card import InputSpec, Intensity, LabelClass, ModelCard
from segdeploy.errors import ConfigError
from segdeploy.models.channels import take_channels
from segdeploy.models.deployed import Deployed
from segdeploy.models.registry import BUILT_IN


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_network_takes_five_channels(name: str) -> None:
    network = models.build(name, 3, channels=5).eval()

    with torch.no_grad():
        logits = network(torch.zeros(1, 5, 64, 64))

    assert logits.shape[:2] == (1, 3)


@pytest.mark.parametrize("channels", [1, 5])
def test_pretrained_filters_answer_gray_as_before(channels: int) -> None:
    """The mean of red, green and blue, scaled: equal channels give what equal colors gave."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    gray = torch.rand(1, 1, 8, 8)
    before = network(gray.expand(-1, 3, -1, -1))

    take_channels(network, channels, name="own", pretrained=True)

    torch.testing.assert_close(network(gray.expand(-1, channels, -1, -1)), before)


def test_network_without_a_convolution_of_colors_is_refused() -> None:
    with pytest.raises(ConfigError, match="'own' cannot take images of 2 channels"):
        take_channels(nn.Sequential(nn.Linear(3, 3)), 2, name="own")


@pytest.mark.parametrize(
    ("intensity", "expected"),
    [
        (Intensity(), [30000 / 65535 - 0.5, 1 - 0.5]),
        (Intensity(rule="range", low=(29000, 0), high=(31000, 60000)), [0.0, 0.5]),
    ],
)
def test_stored_numbers_become_the_card_s_units(
    intensity: Intensity, expected: list[float]
) -> None:
    """Numbers outside a range are clipped to it; one unit is 65535."""
    spec = InputSpec(
        height=1, width=1, mean=(0.5, 0.5), std=(1, 1), channels=("a", "b"), dtype="uint16"
    )
    card = ModelCard(
        architecture="own",
        classes=(LabelClass(name="x", color=(0, 0, 0)),),
        input=replace(spec, intensity=intensity),
    )
    image = torch.tensor([[[[30000, 65535]]]], dtype=torch.uint16)

    output = Deployed.of(nn.Identity(), card)(image)

    torch.testing.assert_close(output.flatten(), torch.tensor(expected))
