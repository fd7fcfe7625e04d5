"""What keeps still keeps all of it: weights and the statistics of norms."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from segdeploy import models
from segdeploy.errors import ConfigError
from segdeploy.train.loader import Batch
from segdeploy.train.loop import Loop
from segdeploy.train.optimization import encoder_of
from segdeploy.train.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = Recipe(freeze=1, epochs=2, loss="ce", warmup=0.0)


def batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 8, 8, 3), generator=random, dtype=torch.uint8)
    return Batch(images, (images[..., 0] > 127).to(torch.uint8), torch.arange(2), torch.empty(2, 0))


def test_encoder_keeps_still_in_its_first_epochs_only() -> None:
    """After the first epoch it learns with the others; norms that were still follow again."""
    torch.manual_seed(0)
    network = models.build("unet", 2, width=2, depth=1)
    loop = Loop(
        models.Deployed(network, RECIPE.mean, RECIPE.std), RECIPE, torch.device("cpu"), steps=1
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
    recipe = replace(RECIPE, freeze=-1)
    loop = Loop(
        models.Deployed(network, recipe.mean, recipe.std), recipe, torch.device("cpu"), steps=1
    )
    before = network.get_parameter("stem.0.0.weight").clone()

    for epoch in range(2):
        loop.epoch(epoch, [batch()], names=("a", "b"), on_step=lambda _: None)

    assert torch.equal(network.get_parameter("stem.0.0.weight"), before)


def test_a_network_without_an_encoder_cannot_be_frozen() -> None:
    """Silently freezing nothing would be a run wasted."""
    with pytest.raises(ConfigError, match="'dot' has no part called backbone or encoder"):
        encoder_of(torch.nn.Conv2d(3, 2, 1), "dot")
