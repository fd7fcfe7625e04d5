"""Where two models differ is counted by hand."""

import numpy as np
import pytest

from segdeploy.arrays import Image, Mask
from segdeploy.metrics.comparison import (
    HEAT_MAP_SIZE,
    Comparison,
    ComparisonImage,
    compare,
    difference_density,
    paint_density,
)


class Threshold:
    """Predicts "bright" where blue is above a value."""

    def __init__(self, value: int) -> None:
        self.value = value

    def mask(self, image: Image) -> Mask:
        return (image[..., 0] > self.value).astype(np.uint8)


def ramp(count: int) -> ComparisonImage:
    """Ten columns, the first `count` of them between both thresholds; the labels are all dark."""
    row = np.where(np.arange(10) < count, 50, 90).astype(np.uint8)
    image = np.broadcast_to(row[None, :, None], (4, 10, 3)).copy()
    labels = np.zeros((4, 10), np.uint8)
    return ComparisonImage(name=f"ramp {count}", image=image, labels=labels)


@pytest.fixture
def comparison() -> Comparison:
    return compare(
        Threshold(45),
        Threshold(55),
        (ramp(count) for count in (1, 0, 3)),
        classes=2,
        on_step=lambda _: None,
    )


def test_disagreement_is_counted_by_hand(comparison: Comparison) -> None:
    """The first predicts all bright; the second predicts 1 + 0 + 3 of 30 columns dark."""
    assert comparison.differing == pytest.approx(4 / 30)
    assert comparison.by_class == (None, pytest.approx(4 / 30))
    assert [name for name, _ in comparison.by_image] == ["ramp 1", "ramp 0", "ramp 3"]
    assert [share for _, share in comparison.by_image] == pytest.approx([0.1, 0, 0.3])
    assert comparison.exchanged.tolist() == [[0, 0], [16, 104]]
    assert comparison.scores is not None
    assert comparison.scores[0].pixel_accuracy == 0
    assert comparison.scores[1].pixel_accuracy == pytest.approx(4 / 30)


def test_the_worst_images_come_first(comparison: Comparison) -> None:
    """Images without a difference are left out."""
    assert [compared.source.name for compared in comparison.worst] == ["ramp 3", "ramp 1"]


def test_the_heat_map_shows_where_images_differ(comparison: Comparison) -> None:
    """The first of ten columns differs in two of three images, the last one never."""
    assert comparison.heat_map.shape == HEAT_MAP_SIZE
    assert comparison.heat_map[:, 0] == pytest.approx(2 / 3)
    assert not comparison.heat_map[:, -1].any()


def test_density_spreads_around_what_differs() -> None:
    """By hand: the window has 3 x 3 pixels, of which one differs."""
    first, second = np.zeros((90, 90), np.uint8), np.zeros((90, 90), np.uint8)
    second[45, 45] = 1

    density = difference_density(first, second)

    assert density[45, 45] == density[44, 46] == pytest.approx(1 / 9)
    assert density[45, 48] == 0
    painted = paint_density(density, hottest=1 / 9)
    assert painted[0, 0].sum() < painted[45, 45].sum()
