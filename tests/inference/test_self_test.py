"""The expected output detects a runtime or a file whose output differs."""

import base64
import hashlib
import json
import zlib

import numpy as np
import pytest

from segdeploy.arrays import Logits
from segdeploy.errors import GateError, ModelError
from segdeploy.inference.self_test import ExpectedOutput, SelfTestResult, built_in_image


def make_logits(seed: int = 0) -> Logits:
    return np.random.default_rng(seed).normal(size=(1, 4, 45, 60)).astype(np.float32)


def test_built_in_image_has_the_given_size_and_a_black_origin() -> None:
    """At the origin both gradients and the checkers are 0, and the grain of -16 is clipped."""
    image = built_in_image(45, 60)

    assert image.shape == (1, 45, 60, 3)
    assert image.dtype == np.uint8
    assert image[0, 0, 0].tolist() == [0, 0, 0]


def test_built_in_image_is_the_same_everywhere() -> None:
    """A stored output is useless if the image changes with the machine or the version."""
    digest = hashlib.sha256(built_in_image(45, 60).tobytes()).hexdigest()

    assert digest == "121106b8395921deff5c5b54d73b037f1719ba6b90878a284a12929f69fbc657"


def test_built_in_image_has_contrast_in_each_channel() -> None:
    """Otherwise a network that ignores a channel would pass."""
    image = built_in_image(64, 64)

    assert (image.reshape(-1, 3).std(axis=0) > 60).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3)])
def test_built_in_image_may_be_tiny(size: tuple[int, int]) -> None:
    assert built_in_image(*size).shape == (1, *size, 3)


def test_json_keeps_the_expected_output() -> None:
    expected = ExpectedOutput.of(make_logits())

    assert ExpectedOutput.from_json(expected.to_json(), source="x") == expected


def test_equal_logits_have_no_difference() -> None:
    assert ExpectedOutput.of(make_logits()).check(make_logits(), source="x") == SelfTestResult(
        difference=0, agreement=1
    )


def test_rounding_passes() -> None:
    """Another processor sums in another order."""
    logits = make_logits()

    assert ExpectedOutput.of(logits).check(
        logits * np.float32(1.00001), source="x"
    ).difference == pytest.approx(1e-5, rel=0.1)


def test_difference_of_a_logit_is_refused() -> None:
    """Logits that are half as large again give the same labels, but are another network's."""
    with pytest.raises(GateError, match="differ by 50"):
        ExpectedOutput.of(make_logits()).check(make_logits() * np.float32(1.5), source="x")


def test_difference_of_labels_is_refused() -> None:
    """Pixels beside the sparse grid of logits are covered by the labels."""
    logits = make_logits()
    changed = logits.copy()
    changed[:, :, 3:6] += np.array([0, 0, 0, 9], np.float32)[None, :, None, None]

    with pytest.raises(GateError, match="of the labels are equal"):
        ExpectedOutput.of(logits).check(changed, source="x")


def test_nan_is_refused() -> None:
    """NaN compares false with everything, including a tolerance."""
    with pytest.raises(GateError):
        ExpectedOutput.of(make_logits()).check(np.full_like(make_logits(), np.nan), source="x")


def test_another_shape_is_refused() -> None:
    with pytest.raises(GateError, match=r"\(1, 4, 45, 30\)"):
        ExpectedOutput.of(make_logits()).check(make_logits()[..., ::2], source="x")


def test_classes_are_compared_by_labels_alone() -> None:
    """A file that returns classes has no logits.

    One label of 45 x 60 may differ, a ninth of them may not.
    """
    classes = np.asarray(make_logits().argmax(1), np.uint8)
    expected = ExpectedOutput.from_json(ExpectedOutput.of(classes).to_json(), source="x")
    close, far = classes.copy(), classes.copy()
    close[0, 0, 0] ^= 1
    far[:, :5] ^= 1

    assert expected.check(close, source="x") == SelfTestResult(
        difference=None, agreement=1 - 1 / (45 * 60)
    )
    with pytest.raises(GateError, match=r"88\.89% of the labels are equal; export it again"):
        expected.check(far, source="x")


def test_tolerance_is_stored() -> None:
    """int8 rounds differently on another processor; the export decides what is allowed."""
    stored = ExpectedOutput.of(make_logits(), tolerance=0.6).to_json()
    expected = ExpectedOutput.from_json(stored, source="x")

    result = expected.check(make_logits() * np.float32(1.5), source="x")

    assert result.difference == pytest.approx(0.5)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "[" * 5000, '{"shape": 3}', '{"shape": [1, 2]}']
)
def test_damaged_text_is_a_model_error(text: str) -> None:
    with pytest.raises(ModelError, match="damaged expected output"):
        ExpectedOutput.from_json(text, source="x")


@pytest.mark.parametrize("key", ["logits", "labels"])
@pytest.mark.parametrize("value", ["", "AAAA", "not base64!", "ü"])
def test_damaged_values_are_a_model_error(key: str, value: str) -> None:
    values = {**json.loads(ExpectedOutput.of(make_logits()).to_json()), key: value}

    with pytest.raises(ModelError, match="damaged expected output"):
        ExpectedOutput.from_json(json.dumps(values), source="x").check(make_logits(), source="x")


def test_output_stored_by_version_0_1_is_read() -> None:
    """The keys stand in the metadata of exported files, and must not change."""
    text = json.dumps(
        {
            "shape": [1, 1],
            "logits": "",
            "labels": base64.b64encode(zlib.compress(bytes([3]))).decode(),
            "tolerance": 0.01,
            "agreement": 0.999,
        }
    )

    result = ExpectedOutput.from_json(text, source="x").check(
        np.array([[[3]]], np.uint8), source="x"
    )

    assert result == SelfTestResult(difference=None, agreement=1)
