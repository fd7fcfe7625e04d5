"""Several views of an image become one answer, each where it belongs."""

import numpy as np
import pytest

from segdeploy.backends.tta import VIEWS, ViewsBackend
from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.errors import ConfigError
from segdeploy.inference.predictor import Predictor


class Slanted:
    """A network that sees red and green, and sees more of red in the left half of whatever it is
    shown; it keeps the shapes.
    """

    device = "test"

    def __init__(self, *, dynamic: bool = False, output: str = "logits") -> None:
        spec = InputSpec(
            height=16, width=32, mean=(0, 0, 0), std=(1, 1, 1), stride=4, dynamic=dynamic
        )
        classes = tuple(LabelClass(name=name, color=(0, 0, 0)) for name in ("red", "green"))
        self.card = ModelCard(architecture="slanted", classes=classes, input=spec, output=output)
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.shapes.append(batch.shape)
        answer = batch[:, ::4, ::4, :2].transpose(0, 3, 1, 2).astype(np.float32)
        answer[:, 0, :, : answer.shape[3] // 2] += 100
        return answer


def halves() -> np.ndarray:
    """Left green and right red, blue-green-red."""
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16, 1] = image[:, 16:, 2] = 60
    return image


def test_no_more_views_change_nothing() -> None:
    """The network's own answer, untouched."""
    batch = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 3), dtype=np.uint8)

    np.testing.assert_array_equal(ViewsBackend(Slanted(), ()).run(batch), Slanted().run(batch))


def test_a_mirror_takes_out_what_depends_on_the_side() -> None:
    """By hand: 100 more for red on the left in one of two views is 50 on both sides, and 60 of
    green still leads.
    """
    alone, mirrored = (
        Predictor(ViewsBackend(Slanted(), views)).mask(halves()) for views in ((), ("flip",))
    )

    assert not alone.any()
    assert mirrored[:, :14].all()
    assert not mirrored[:, 18:].any()


def test_mirror_is_turned_back() -> None:
    """By hand: the mean of both views of one bright column."""
    batch = np.zeros((1, 16, 32, 3), np.uint8)
    batch[:, :, 4, 1] = 80

    answer = ViewsBackend(Slanted(), ("flip",)).run(batch)

    # The network looks at every fourth column, from the first: in the mirror column 4 is column 27,
    # which it does not look at.
    assert answer[0, 1, 0].tolist() == [0, 40, 0, 0, 0, 0, 0, 0]
    assert answer[0, 0, 0].tolist() == [50] * 8


def test_sizes_are_multiples_of_the_stride() -> None:
    """0.75 and 1.25 of 16x32, each in the mirror too; the answer has the size of the largest."""
    network = Slanted(dynamic=True)

    answer = ViewsBackend(network, VIEWS).run(np.zeros((3, 16, 32, 3), np.uint8))

    assert network.shapes == [(3, 16, 32, 3)] * 2 + [(3, 12, 24, 3)] * 2 + [(3, 20, 40, 3)] * 2
    assert answer.shape == (3, 2, 5, 10)


@pytest.mark.parametrize(
    ("network", "views", "sentence"),
    [
        (Slanted(), ("scales",), "images of 16x32 only; export it with --dynamic"),
        (Slanted(output="classes"), ("flip",), "answers classes, of which there is no mean"),
    ],
)
def test_what_a_network_cannot_do_is_told(
    network: Slanted, views: tuple[str, ...], sentence: str
) -> None:
    """Before the first image."""
    with pytest.raises(ConfigError, match=sentence):
        ViewsBackend(network, views)
