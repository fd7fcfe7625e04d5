"""Where a network comes from."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from segdeploy.errors import ConfigError
from segdeploy.models import build
from segdeploy.train.birth import check_batch, commit
from segdeploy.train.recipe import Recipe


def test_commit_is_the_checkout_s_own() -> None:
    """In a checkout it is a commit; an installed package has none, whatever repository it happens to lie in."""
    in_checkout = (Path(__file__).parents[1] / ".git").exists()

    assert re.fullmatch(r"[0-9a-f]{40,64}" if in_checkout else "", commit())


def test_network_that_pools_whole_pictures_needs_two() -> None:
    """Of one picture alone a norm has one value; PyTorch would say so in the middle of the first step, in a traceback."""
    recipe = Recipe(model="fastscnn", batch=1)
    with torch.device("meta"):
        pooling, other = build("fastscnn", 2), build("regseg", 2)

    with pytest.raises(ConfigError, match="take --batch 2"):
        check_batch(recipe, pooling, processes=1)
    with pytest.raises(ConfigError, match="take --batch 4"):
        check_batch(replace(recipe, batch=3), pooling, processes=2)
    check_batch(replace(recipe, batch=4), pooling, processes=2)
    check_batch(recipe, other, processes=1)
