"""Statistics of a dataset, worked out by hand."""

from math import log

import numpy as np
import pytest

from segdeploy.card import LabelClass
from segdeploy.datasets.checks.statistics import StatisticsAccumulator, count, moments

CLASSES = tuple(
    LabelClass(name=name, color=(index, 0, 0)) for index, name in enumerate(("road", "car", "sky"))
)


@pytest.fixture
def statistics():
    """Two masks: three of road and one of car; three of road and one without a label."""
    total = StatisticsAccumulator(CLASSES)
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = (255, 51, 0)
    for mask in ([[0, 0], [0, 1]], [[0, 0], [0, 255]]):
        total.add_image((2, 2), moments(image))
        total.add_mask(count(np.array(mask, np.uint8)))
    return total.statistics()


def test_classes_are_counted(statistics):
    """Seven pixels are labeled, six of them road."""
    road, car, sky = statistics.classes

    assert (road.pixels, car.pixels, sky.pixels) == (6, 1, 0)
    assert (road.share, car.share, sky.share) == (6 / 7, 1 / 7, 0)
    assert (road.images, car.images, sky.images) == (2, 1, 0)
    assert statistics.labeled == 7 / 8


def test_weights_are_those_of_the_papers(statistics):
    """ENet: 1 / ln(1.02 + share). Median frequency: road 6 of 7, car 1 of the 4 in its image.

    The median is their mean.
    """
    road, car, sky = statistics.classes

    assert road.weight == pytest.approx(1 / log(1.02 + 6 / 7))
    assert car.weight == pytest.approx(1 / log(1.02 + 1 / 7))
    assert road.median_weight == pytest.approx((6 / 7 + 1 / 4) / 2 / (6 / 7))
    assert car.median_weight == pytest.approx((6 / 7 + 1 / 4) / 2 / (1 / 4))
    assert (sky.weight, sky.median_weight) == (None, None)


def test_colors_are_red_green_blue(statistics):
    """Half of the pixels are blue 255 and green 51; the deviation is half of the distance."""
    assert statistics.mean == pytest.approx((0, 0.1, 0.5))
    assert statistics.std == pytest.approx((0, 0.1, 0.5))


def test_sizes_are_counted(statistics):
    """As "WIDTHxHEIGHT"."""
    assert statistics.sizes == {"2x2": 2}
    assert (statistics.images, statistics.masks) == (2, 2)


def test_images_of_different_sizes_count_by_their_pixels():
    """One white pixel and three black ones: mean 1 / 4, standard deviation sqrt(3) / 4."""
    total = StatisticsAccumulator(CLASSES)
    total.add_image((1, 1), moments(np.full((1, 1, 3), 255, np.uint8)))
    total.add_image((1, 3), moments(np.zeros((1, 3, 3), np.uint8)))

    assert total.statistics().mean == pytest.approx((0.25,) * 3)
    assert total.statistics().std == pytest.approx((3**0.5 / 4,) * 3)


def test_statistics_of_nothing_are_zeros():
    """A split whose images are all damaged."""
    statistics = StatisticsAccumulator(CLASSES).statistics()

    assert (statistics.images, statistics.labeled, statistics.mean) == (0, 0, (0, 0, 0))
