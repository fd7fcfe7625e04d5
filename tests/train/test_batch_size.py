"""Batches that are too small for norms, or too large for the memory."""

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from segdeploy.errors import ConfigError
from segdeploy.models.registry import build
from segdeploy.train.batch_size import advice, check_batch, largest_batch
from segdeploy.train.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("batch", "images", "processes", "shared", "message"),
    [
        (
            1,
            9,
            1,
            False,
            (
                "batch is 1 and fastscnn pools whole images, whose norm needs at least 2; use"
                " --batch 2"
            ),
        ),
        (3, 9, 2, False, "batch is 3 for 2 processes and .* use --batch 4"),
        (8, 1, 1, False, "batch is 1 and .* use more images"),
        (1, 1, 1, False, "use --batch 2 and more images"),
        # Norms that are shared need two in all, and every process one.
        (1, 9, 2, True, "use --batch 2"),
        (3, 9, 4, True, "use --batch 4"),
    ],
)
def test_network_that_pools_whole_images_needs_two(
    *, batch: int, images: int, processes: int, shared: bool, message: str
) -> None:
    """Of one image alone a norm has one value.

    PyTorch would say so in the middle of the first step, in a traceback.
    """
    with torch.device("meta"):
        pooling = build("fastscnn", 2)
    recipe = Recipe(model="fastscnn", batch=batch)

    with pytest.raises(ConfigError, match=message):
        check_batch(recipe, pooling, images=images, processes=processes, shared=shared)
    check_batch(replace(recipe, batch=4), pooling, images=4, processes=2, shared=shared)


def test_one_image_to_overfit_may_be_too_few() -> None:
    """The message names another value for the option that was given.

    A network without such norms takes it.
    """
    recipe = Recipe(model="fastscnn", batch=8, overfit=1)
    with torch.device("meta"):
        pooling, other = build("fastscnn", 2), build("regseg", 2)

    with pytest.raises(ConfigError, match=r"batch is 1 and .* use --overfit 2"):
        check_batch(recipe, pooling, images=1, processes=1, shared=False)
    check_batch(recipe, other, images=1, processes=1, shared=False)


def test_every_process_has_an_image() -> None:
    """A process without one would fail with a traceback."""
    with torch.device("meta"):
        network = build("regseg", 2)

    with pytest.raises(
        ConfigError, match="batch is 2 for 3 processes and each needs at least one; use --batch 3"
    ):
        check_batch(Recipe(model="regseg", batch=2), network, images=9, processes=3, shared=True)


def test_norms_that_need_more_than_one_image_end_the_search() -> None:
    """Means over one image of one pixel are refused by PyTorch with a ValueError."""
    norm = nn.BatchNorm2d(2)

    def train_step(count: int) -> None:
        if count > 1:
            msg = "CUDA out of memory"
            raise torch.OutOfMemoryError(msg)
        norm(torch.zeros(count, 2, 1, 1))

    assert largest_batch(train_step, 8) == 0
    assert largest_batch(train_step, 8, least=2) == 0
    assert advice(8, 0, least=2, accumulate=1, device="x").startswith(
        "not even 2 images, which this network needs, fit into the memory of x;"
    )


def test_steps_keep_at_least_their_size() -> None:
    """Six images in batches of 4 twice accumulated, of which 4 at once do not fit, are 4 batches
    of 2 or 3 of 3.
    """
    assert "--batch 2, and with --accumulate 4" in advice(4, 2, accumulate=2, device="x")
    assert "--batch 3, and with --accumulate 3" in advice(4, 3, accumulate=2, device="x")
