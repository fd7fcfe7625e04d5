"""What numbers mean is told by their shape, by the last operator, and by their range."""

import numpy as np
import pytest

from segdeploy.errors import ModelError
from segdeploy.export.adopt.answers import Layout, find_kind, find_layout


@pytest.mark.parametrize(
    ("shape", "channels", "layout"),
    [
        ((1, 3, 32, 48), {3}, Layout(batch=True, channels=0)),
        ((1, 32, 48, 3), {3}, Layout(batch=True, channels=2)),
        ((3, 32, 48), {3}, Layout(batch=False, channels=0)),
        ((1, 32, 48), set(), Layout(batch=True, channels=None)),
        ((32, 48), set(), Layout(batch=False, channels=None)),
        # A stride of 8 that was rounded up.
        ((1, 19, 9, 13), {19}, Layout(batch=True, channels=0)),
        # Nothing but the number of classes tells.
        ((1, 64, 96, 64), {64}, Layout(batch=True, channels=2)),
    ],
)
def test_layout_is_found_from_the_shape(
    shape: tuple[int, ...], channels: set[int], layout: Layout
) -> None:
    assert find_layout(shape, (64, 96), channels=channels, source="x") == layout


@pytest.mark.parametrize("shape", [(1, 1000), (1, 4, 1536), (2, 3, 32, 48), (1, 300, 64, 96), ()])
def test_output_that_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"x returns an output of shape .* --output-name"):
        find_layout(shape, (64, 96), channels=set(), source="x")


def test_planes_come_first() -> None:
    raw = np.arange(24).reshape(1, 2, 3, 4)

    assert Layout(batch=True, channels=2).planes(raw).shape == (4, 2, 3)
    assert Layout(batch=True, channels=None).planes(raw[:, :, :, 0]).shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("output", "last", "kind"),
    [
        (np.array([[[-1.0, 2.0]], [[0.0, 1.0]]]), "Conv", "logits"),
        (np.array([[[0.25, 1.0]], [[0.75, 0.0]]]), "Softmax", "probabilities"),
        (np.array([[[0.25, 1.0]], [[0.25, 0.0]]]), "Sigmoid", "sigmoid"),
        # Not every network in [0, 1] is one of probabilities: a warning says that it looks like it.
        (np.array([[[0.25, 1.0]], [[0.25, 0.0]]]), "Relu", "logits"),
        (np.array([[[0.25, 1.0]]]), "Div", "sigmoid"),
        (np.array([[[-0.25, 1.0]]]), "Conv", "logits"),
        (np.array([[[0, 3]]]), "", "classes"),
        (np.array([[[0.0, 3.0]]]), "ArgMax", "classes"),
    ],
)
def test_kind_is_found_from_the_numbers(output: np.ndarray, last: str, kind: str) -> None:
    assert find_kind([output], last=last, told="auto") == kind
    assert find_kind([output], last=last, told="sigmoid") == "sigmoid"
