"""Where a network comes from."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from segdeploy.errors import ConfigError
from segdeploy.models.registry import build
from segdeploy.train.recipe import Recipe
from segdeploy.train.run_setup import check_batch, commit


def test_commit_is_the_checkout_s_own() -> None:
    """In a checkout it is a commit.

    An installed package has none, whatever repository it happens to lie in.
    """
    in_checkout = (Path(__file__).parents[2] / ".git").exists()

    assert re.fullmatch(r"[0-9a-f]{40,64}" if in_checkout else "", commit())


@pytest.mark.parametrize(
    ("batch", "pictures", "processes", "shared", "told"),
    [
        (
            1,
            9,
            1,
            False,
            (
                "batch is 1 and fastscnn pools whole images, whose norm needs 2 at least; take"
                " --batch 2"
            ),
        ),
        (3, 9, 2, False, "batch is 3 for 2 processes and .* take --batch 4"),
        (8, 1, 1, False, "batch is 1 and .* take more images"),
        (1, 1, 1, False, "take --batch 2 and more images"),
        # Norms that are shared need two in all, and every process one.
        (1, 9, 2, True, "take --batch 2"),
        (3, 9, 4, True, "take --batch 4"),
    ],
)
def test_network_that_pools_whole_pictures_needs_two(
    *, batch: int, images: int, processes: int, shared: bool, told: str
) -> None:
    """Of one image alone a norm has one value.

    PyTorch would say so in the middle of the first step, in a traceback.
    """
    with torch.device("meta"):
        pooling = build("fastscnn", 2)
    recipe = Recipe(model="fastscnn", batch=batch)

    with pytest.raises(ConfigError, match=told):
        check_batch(recipe, pooling, images=images, processes=processes, shared=shared)
    check_batch(replace(recipe, batch=4), pooling, images=4, processes=2, shared=shared)


def test_one_picture_to_learn_by_heart_may_be_too_few() -> None:
    """The cure is another number for the option that was given.

    A network without such norms is content.
    """
    recipe = Recipe(model="fastscnn", batch=8, overfit=1)
    with torch.device("meta"):
        pooling, other = build("fastscnn", 2), build("regseg", 2)

    with pytest.raises(ConfigError, match=r"batch is 1 and .* take --overfit 2"):
        check_batch(recipe, pooling, images=1, processes=1, shared=False)
    check_batch(recipe, other, images=1, processes=1, shared=False)


def test_every_process_has_a_picture() -> None:
    """One without would wait for nothing and break off in a traceback."""
    with torch.device("meta"):
        network = build("regseg", 2)

    with pytest.raises(
        ConfigError, match="batch is 2 for 3 processes and each takes one at least; take --batch 3"
    ):
        check_batch(Recipe(model="regseg", batch=2), network, images=9, processes=3, shared=True)
