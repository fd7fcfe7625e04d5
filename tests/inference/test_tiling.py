"""An image in windows is answered without seams, and a row of windows is all that is in memory."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdeploy.arrays import Image
from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.errors import ConfigError, ModelError
from segdeploy.inference.predictor import Predictor
from segdeploy.inference.tiling import Tiler, spans


class Colors:
    """A network that answers a pixel's red, green and blue.

    With a grudge against windows whose first pixel is bright.
    """

    device = "test"

    def __init__(
        self,
        height: int = 32,
        width: int = 32,
        *,
        grudge: float = 0,
        dynamic: bool = False,
        output: str = "logits",
        stride: int = 4,
    ) -> None:
        spec = InputSpec(
            height=height,
            width=width,
            mean=(0, 0, 0),
            std=(1, 1, 1),
            stride=stride,
            dynamic=dynamic,
        )
        classes = tuple(LabelClass(name=name, color=(0, 0, 0)) for name in ("red", "green", "blue"))
        self.card = ModelCard(architecture="colors", classes=classes, input=spec, output=output)
        self.grudge = grudge
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.shapes.append(batch.shape)
        answer = batch.transpose(0, 3, 1, 2).astype(np.float32)
        answer[:, 0] += self.grudge * (batch[:, 0, 0, 0] > 128)[:, None, None]
        return answer


def reader(image: Image) -> Callable[[int], Image]:
    """Give rows from the top, each once."""
    place = 0

    def read(count: int) -> Image:
        nonlocal place
        place += count
        assert place <= len(image)
        return image[place - count : place]

    return read


def answered(network: Colors, image: Image, **options: int) -> np.ndarray:
    """The whole mask, and the whole image on the way."""
    height, width = image.shape[:2]
    strips = list(Tiler(network, **options).strips(height, width=width, read=reader(image)))
    np.testing.assert_array_equal(np.concatenate([strip for strip, _ in strips]), image)
    return np.concatenate([mask for _, mask in strips])


@given(st.integers(1, 700), st.integers(3, 90), st.integers(0, 30))
def test_windows_cover_a_side_and_their_say_adds_up(size: int, tile: int, overlap: int) -> None:
    """Every pixel is seen by those that speak of it, at most two of them, and they agree on their
    shares.
    """
    overlap = min(overlap, tile // 3)
    say = np.zeros(size)
    speakers = np.zeros(size, int)

    for span in spans(size, tile, overlap=overlap):
        assert (
            0
            <= span.start
            <= span.first
            <= span.sure
            <= span.fade
            <= span.last
            <= span.stop
            <= size
        )
        assert span.stop - span.start == min(tile, size)
        say[span.first : span.last] += span.weights()
        speakers[span.first : span.last] += 1

    np.testing.assert_allclose(say, 1, atol=1e-6)
    assert speakers.max() <= 2
    assert sum(span.fade - span.first for span in spans(size, tile, overlap=overlap)) == size


def test_spans_by_hand() -> None:
    """10 pixels in windows of 4 that blend in 1: three windows, from 0, 3 and 6.

    They blend in pixel 3 and in pixel 6.
    """
    found = [
        (span.start, span.stop, span.first, span.sure, span.fade, span.last)
        for span in spans(10, 4, overlap=1)
    ]

    assert found == [(0, 4, 0, 0, 3, 4), (3, 7, 3, 4, 6, 7), (6, 10, 6, 7, 10, 10)]
    assert spans(10, 4, overlap=1)[1].weights().tolist() == [0.5, 1, 1, 0.5]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (100, 77), (20, 200), (33, 65), (5, 7)])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_network_that_sees_single_pixels_does_not_mind_windows(
    height: int, width: int, workers: int
) -> None:
    """The mask is that of each pixel alone, at every size, also of images smaller than a window."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    network = Colors(min(32, height), min(32, width), stride=1)

    mask = answered(network, image, height=32, width=32, overlap=8, workers=workers)

    np.testing.assert_array_equal(mask, image[..., ::-1].argmax(axis=2))


def test_windows_blend_into_each_other() -> None:
    """By hand: green leads red by 32, and one window adds 64 to red.

    So where its say is over a half, red wins.
    """
    image = np.zeros((32, 56, 3), np.uint8)
    image[..., 1] = 32
    image[0, 0] = (0, 33, 255)

    mask = answered(Colors(grudge=64), image, height=32, width=32, overlap=8)

    # The windows are 0 to 32 and 24 to 56: they blend from 24 to 32, and in the fourth of these
    # pixels the first has 9 / 16.
    assert (mask[1:, :28] == 0).all()
    assert (mask[:, 28:] == 1).all()


def test_one_window_is_the_predictors_mask() -> None:
    """An image no larger than a tile is answered as ever, padded ones too."""
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)

    mask = answered(Colors(), image, height=64, width=64, overlap=16)

    assert (mask == Predictor(Colors()).mask(image)).mean() > 0.9999


def test_a_network_of_any_size_sees_windows_as_they_are() -> None:
    """Rounded up to its stride; a network of one size is shown what it was made for."""
    dynamic, fixed = Colors(16, 16, dynamic=True), Colors(16, 16)
    image = np.zeros((100, 100, 3), np.uint8)

    for network in (dynamic, fixed):
        answered(network, image, height=50, width=30, overlap=8)

    assert set(dynamic.shapes) == {(1, 52, 32, 3)}
    assert set(fixed.shapes) == {(1, 16, 16, 3)}


@pytest.mark.parametrize("overlap", [-1, 11])
def test_an_overlap_that_cannot_be_is_refused(overlap: int) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigError, match="take at most a third, 10"):
        Tiler(Colors(), height=32, width=32, overlap=overlap)


def test_classes_cannot_be_blended() -> None:
    """The sentence says what helps."""
    with pytest.raises(ConfigError, match="--output logits"):
        Tiler(Colors(output="classes"), height=32, width=32, overlap=8)


def test_an_answer_that_is_no_number_is_refused() -> None:
    """In any window."""
    network = Colors(grudge=float("nan"))

    with pytest.raises(ModelError, match="NaN"):
        answered(network, np.full((40, 40, 3), 255, np.uint8), height=32, width=32, overlap=8)
