"""How far two masks agree."""

import json

import numpy as np
import pytest
from msgspec import to_builtins

from segdeploy.metrics.scores import Parity
from segdeploy.metrics.segmentation import Agreement, near_boundary
from segdeploy.system.schema import convert


def test_near_a_boundary_are_3_pixels_on_either_side():
    """By hand: the boundary lies between columns 9 and 10."""
    mask = np.zeros((5, 20), np.uint8)
    mask[:, 10:] = 1

    near = near_boundary(mask)

    assert np.flatnonzero(near[2]).tolist() == [7, 8, 9, 10, 11, 12]
    assert not near_boundary(np.zeros((5, 20), np.uint8)).any()


def test_agreement_by_hand():
    """Of 100 pixels one differs near the boundary, in class 1.

    Of class 0 all agree, class 2 never occurs.
    """
    reference = np.zeros((5, 20), np.uint8)
    reference[:, 10:] = 1
    mask = reference.copy()
    mask[2, 10] = 2
    agreement = Agreement(3)

    share = agreement.add(mask, reference)

    assert share == 0.99
    assert agreement.overall == 0.99
    assert agreement.near == 29 / 30
    assert agreement.by_class == (1.0, 49 / 50, None)


def test_images_add_up_by_pixels():
    """A small image does not weigh as much as a large one."""
    agreement = Agreement(2)

    agreement.add(np.zeros((1, 3), np.uint8), np.zeros((1, 3), np.uint8))
    agreement.add(np.ones((1, 1), np.uint8), np.zeros((1, 1), np.uint8))

    assert agreement.overall == 0.75


def test_nothing_compared_agrees():
    """No pixel differs."""
    assert Agreement(2).overall == Agreement(2).near == 1.0


def test_parity_survives_json():
    """A file stores exactly what was proven."""
    parity = Parity(
        agreement=0.999,
        boundary_agreement=0.98,
        class_agreement=(1.0, None),
        largest_difference=1e-5,
        miou=None,
        reference_miou=None,
        images=3,
        source="streets val",
        reference="torch",
        gate=0.99,
        device="openvino CPU f32",
    )

    values = json.loads(json.dumps(to_builtins(parity)))
    assert values["pictures"] == parity.images
    assert convert(values, Parity, refuse=ValueError) == parity

    older = {key: value for key, value in values.items() if key != "device"}
    assert convert(older, Parity, refuse=ValueError).device == ""
    with pytest.raises(ValueError, match="agreement is 'all' and must be a number"):
        convert({**values, "agreement": "all"}, Parity, refuse=ValueError)


def compared(reference, *, agreement=1, miou=None, reference_miou=None, budget=None):
    return Parity(
        agreement=agreement,
        boundary_agreement=1,
        class_agreement=(),
        largest_difference=None,
        miou=miou,
        reference_miou=reference_miou,
        images=1,
        source="",
        reference=reference,
        gate=0.98,
        max_miou_drop=budget,
    )


def parity_of(agreement, miou, reference_miou, budget):
    return compared(
        "", agreement=agreement, miou=miou, reference_miou=reference_miou, budget=budget
    ).passed


def test_what_a_file_was_compared_with_is_named():
    """An adopted file never saw PyTorch."""
    assert compared("torch 2.9.0 cpu float32").against == "PyTorch"
    assert compared("onnxruntime on numbers prepared by numpy float32").against == "the original"


@pytest.mark.parametrize(
    ("agreement", "miou", "reference_miou", "budget", "passed"),
    [
        (0.98, None, None, None, True),
        (0.979, 0.5, 0.5, None, False),
        (float("nan"), None, None, None, False),
        (0.9, 0.625, 0.75, 0.125, True),
        (0.99, 0.5, 0.75, 0.125, False),
        (0.9, 0.8, 0.7, 0.0, True),
        (0.89, 0.8, 0.0, 0.125, False),
        (0.98, None, None, 0.125, True),
        (0.97, None, None, 0.125, False),
    ],
)
def test_budget_of_miou_is_the_gate_where_there_are_labels(
    agreement, miou, reference_miou, budget, passed
):
    """Eight bits move boundaries a little; what counts is whether the masks are worse."""
    assert parity_of(agreement, miou, reference_miou, budget) is passed
