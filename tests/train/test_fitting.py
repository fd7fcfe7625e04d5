"""Memory that is not enough is told with a batch for which it is."""

import pytest
import torch
from torch import Tensor, nn

from segdeploy.errors import SegdeployError
from segdeploy.models.deployed import Deployed
from segdeploy.train.loader import Batch
from segdeploy.train.loop import Loop, advice, largest_batch
from segdeploy.train.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


class Greedy(nn.Module):
    """A network that has no memory for more than so many images."""

    stride = 1

    def __init__(self, most: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 1)
        self._most = most

    def forward(self, image: Tensor) -> Tensor:
        if len(image) > self._most:
            msg = "CUDA out of memory"
            raise torch.OutOfMemoryError(msg)
        answer: Tensor = self.convolution(image)
        return answer


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
def test_a_step_without_enough_memory_says_which_batch_would_fit(most: int, sentence: str) -> None:
    """It is tried, by halves, with a whole step: 8, 4, 2."""
    recipe = Recipe(epochs=1)
    loop = Loop(
        Deployed(Greedy(most), recipe.mean, recipe.std), recipe, torch.device("cpu"), steps=1
    )
    batch = Batch(
        torch.zeros(16, 8, 8, 3, dtype=torch.uint8),
        torch.zeros(16, 8, 8, dtype=torch.uint8),
        torch.arange(16),
        torch.empty(16, 0),
    )

    with pytest.raises(SegdeployError, match=sentence):
        loop.epoch(0, [batch], names=(), on_step=lambda _: None)


def test_norms_that_need_more_than_one_picture_end_the_search() -> None:
    """Means over one image of one pixel are refused by PyTorch with a ValueError."""
    norm = nn.BatchNorm2d(2)

    def learn(count: int) -> None:
        if count > 1:
            msg = "CUDA out of memory"
            raise torch.OutOfMemoryError(msg)
        norm(torch.zeros(count, 2, 1, 1))

    assert largest_batch(learn, 8) == 0
    assert largest_batch(learn, 8, least=2) == 0
    assert advice(8, 0, least=2, accumulate=1, device="x").startswith(
        "not even 2 images, which this network needs, fit into the memory of x;"
    )


def test_steps_keep_at_least_their_size() -> None:
    """Six images in batches of 4 twice accumulated, of which 4 at once do not fit, are 4 batches
    of 2 or 3 of 3.
    """
    assert "--batch 2, and with --accumulate 4" in advice(4, 2, accumulate=2, device="x")
    assert "--batch 3, and with --accumulate 3" in advice(4, 3, accumulate=2, device="x")
