"""Set-up of a run: the commit that a card names, and networks that fit into the machine."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from segdeploy import models
from segdeploy.errors import ConfigError
from segdeploy.train.recipe import Recipe
from segdeploy.train.run_setup import build_network, commit


def test_commit_is_that_of_the_checkout() -> None:
    """In a checkout it is a commit.

    An installed package has none, whatever repository it happens to lie in.
    """
    in_checkout = (Path(__file__).parents[2] / ".git").exists()

    assert re.fullmatch(r"[0-9a-f]{40,64}" if in_checkout else "", commit())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"width": 10**12}, "cannot be built with .*overflowed"),
        ({"width": 20_000}, "takes at least .* GiB and this machine has .* GiB"),
        ({"width": "wide"}, "cannot be built with"),
        ({"depth": 10**9}, "the depth 1 to 8"),
    ],
)
def test_networks_without_measure_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    """Before memory is taken for them: a recipe may be somebody else's."""
    with pytest.raises(ConfigError, match=sentence):
        build_network(Recipe(arguments=arguments), classes=2)


def test_looking_at_the_size_draws_no_random_number() -> None:
    """A seed gives the weights that it always gave."""
    recipe = Recipe(arguments={"width": 2, "depth": 1})
    torch.manual_seed(0)
    first = build_network(recipe, classes=2).state_dict()["head.weight"]
    torch.manual_seed(0)
    assert torch.equal(models.build("unet", 2, width=2, depth=1).state_dict()["head.weight"], first)
