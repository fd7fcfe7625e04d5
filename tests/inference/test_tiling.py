"""Tiles are blended without seams, and only one row of them is read at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdeploy.arrays import Batch, Image, Mask, NetworkOutput
from segdeploy.errors import ConfigError, ModelError
from segdeploy.inference.predictor import Predictor
from segdeploy.inference.tiling import Tiler, spans
from tests.helpers.cards import make_card


class ColorBackend:
    """Logits are the red, green and blue of each pixel; it records the shapes of its batches.

    Red is larger by `bias` in tiles whose first pixel is bright red.
    """

    device = "test"

    def __init__(
        self, height: int = 32, width: int = 32, *, bias: float = 0, stride: int = 4, **card: Any
    ) -> None:
        self.card = make_card(
            height, width, classes=("red", "green", "blue"), stride=stride, **card
        )
        self.bias = bias
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: Batch) -> NetworkOutput:
        self.shapes.append(batch.shape)
        logits = batch.transpose(0, 3, 1, 2).astype(np.float32)
        logits[:, 0] += self.bias * (batch[:, 0, 0, 0] > 128)[:, None, None]
        return logits


def row_reader(image: Image) -> Callable[[int], Image]:
    """Return a function that reads the next rows, each once."""
    position = 0

    def read(count: int) -> Image:
        nonlocal position
        position += count
        assert position <= len(image)
        return image[position - count : position]

    return read


def segment(network: ColorBackend, image: Image, **options: int) -> Mask:
    """Return the whole mask, and check that the strips are the whole image."""
    height, width = image.shape[:2]
    tiler = Tiler(network, **options)
    strips = list(tiler.strips(height, width=width, read=row_reader(image)))
    np.testing.assert_array_equal(np.concatenate([strip.image for strip in strips]), image)
    return np.concatenate([strip.mask for strip in strips])


@given(st.integers(1, 700), st.integers(3, 90), st.integers(0, 30))
def test_tiles_cover_a_side_and_their_weights_add_up(size: int, tile: int, overlap: int) -> None:
    """At most two tiles contribute to a pixel, and both contain it."""
    overlap = min(overlap, tile // 3)
    weights = np.zeros(size)
    contributors = np.zeros(size, int)

    for span in spans(size, tile, overlap=overlap):
        assert (
            0
            <= span.start
            <= span.begin
            <= span.alone_from
            <= span.alone_until
            <= span.end
            <= span.stop
            <= size
        )
        assert span.stop - span.start == min(tile, size)
        weights[span.begin : span.end] += span.weights()
        contributors[span.begin : span.end] += 1

    np.testing.assert_allclose(weights, 1, atol=1e-6)
    assert contributors.max() <= 2
    assert sum(span.alone_until - span.begin for span in spans(size, tile, overlap=overlap)) == size


def test_spans_by_hand() -> None:
    """10 pixels in tiles of 4 that overlap by 1: three tiles, from 0, 3 and 6.

    They are blended in pixel 3 and in pixel 6.
    """
    bounds = [
        (span.start, span.stop, span.begin, span.alone_from, span.alone_until, span.end)
        for span in spans(10, 4, overlap=1)
    ]

    assert bounds == [(0, 4, 0, 0, 3, 4), (3, 7, 3, 4, 6, 7), (6, 10, 6, 7, 10, 10)]
    assert spans(10, 4, overlap=1)[1].weights().tolist() == [0.5, 1, 1, 0.5]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (100, 77), (20, 200), (33, 65), (5, 7)])
@pytest.mark.parametrize("workers", [1, 3])
def test_tiles_do_not_change_the_mask_of_a_pixelwise_network(
    height: int, width: int, workers: int
) -> None:
    """At every size, also of images smaller than a tile."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    network = ColorBackend(min(32, height), min(32, width), stride=1)

    mask = segment(network, image, height=32, width=32, overlap=8, workers=workers)

    np.testing.assert_array_equal(mask, image[..., ::-1].argmax(axis=2))


def test_overlapping_tiles_are_blended() -> None:
    """Green leads red by 32, and the first tile adds 64 to red.

    So red wins where the weight of that tile is more than a half.
    """
    image = np.zeros((32, 56, 3), np.uint8)
    image[..., 1] = 32
    image[0, 0] = (0, 33, 255)

    mask = segment(ColorBackend(bias=64), image, height=32, width=32, overlap=8)

    # The tiles are 0 to 32 and 24 to 56: they are blended from 24 to 32, and in the fourth of
    # these pixels the first tile has a weight of 9 / 16.
    assert (mask[1:, :28] == 0).all()
    assert (mask[:, 28:] == 1).all()


def test_one_tile_gives_the_mask_of_the_predictor() -> None:
    """An image that is no larger than a tile is segmented as without tiles."""
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)

    mask = segment(ColorBackend(), image, height=64, width=64, overlap=16)

    assert (mask == Predictor(ColorBackend()).mask(image)).mean() > 0.9999


def test_dynamic_network_runs_at_the_size_of_the_tiles() -> None:
    """Rounded up to its stride; a network of fixed size runs at its own size."""
    dynamic, fixed = ColorBackend(16, 16, dynamic=True), ColorBackend(16, 16)
    image = np.zeros((100, 100, 3), np.uint8)

    for network in (dynamic, fixed):
        segment(network, image, height=50, width=30, overlap=8)

    assert set(dynamic.shapes) == {(1, 52, 32, 3)}
    assert set(fixed.shapes) == {(1, 16, 16, 3)}


@pytest.mark.parametrize("overlap", [-1, 11])
def test_impossible_overlap_is_refused(overlap: int) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigError, match="use at most a third, 10"):
        Tiler(ColorBackend(), height=32, width=32, overlap=overlap)


def test_classes_cannot_be_blended() -> None:
    """The message says what to do."""
    with pytest.raises(ConfigError, match="--output logits"):
        Tiler(ColorBackend(output="classes"), height=32, width=32, overlap=8)


def test_nan_is_refused() -> None:
    """In any tile."""
    network = ColorBackend(bias=float("nan"))

    with pytest.raises(ModelError, match="NaN"):
        segment(network, np.full((40, 40, 3), 255, np.uint8), height=32, width=32, overlap=8)
