"""What lies around a pixel, against PyTorch's own pooling."""

import pytest
import torch
from torch.nn import functional

from segdeploy.models.blocks import enlarge
from segdeploy.models.context import grid_means


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (12, 15), (45, 60)])
@pytest.mark.parametrize("grid", [1, 2, 3, 6])
def test_grid_means_are_adaptive_average_pooling(size: tuple[int, int], grid: int) -> None:
    """The matrices stand for what papers and their published weights mean by pooling to a grid."""
    features = torch.rand(2, 3, *size)

    torch.testing.assert_close(grid_means(features, grid), functional.adaptive_avg_pool2d(features, grid))


def test_enlarging_moves_no_pixel_where_halving_rounded_up() -> None:
    """23 features of 45 are enlarged by 2 and cut; the place of feature i stays 2i + 0.5."""
    coarse = torch.arange(23.0).expand(1, 1, 23, 23)

    answer = enlarge(coarse, torch.empty(1, 1, 45, 45), factor=2)

    expected = (torch.arange(45.0) - 0.5) / 2
    assert answer.shape[2:] == (45, 45)
    torch.testing.assert_close(answer[0, 0, 0], expected.clamp(0, 22))
