"""The stored answer finds a runtime or a file that answers otherwise."""

import hashlib
import json

import numpy as np
import pytest

from segdeploy.errors import GateError, ModelError
from segdeploy.inference import self_test as selfcheck
from segdeploy.inference.self_test import Answer, SelfTestResult


def logits_of(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, 4, 45, 60)).astype(np.float32)


def test_picture_starts_dark_and_is_of_the_asked_size() -> None:
    """At the origin both gradients and the checks are 0, and the grain of -16 is cut off."""
    image = selfcheck.built_in_image(45, 60)

    assert image.shape == (1, 45, 60, 3)
    assert image.dtype == np.uint8
    assert image[0, 0, 0].tolist() == [0, 0, 0]


def test_picture_is_the_same_everywhere() -> None:
    """A stored answer is worth nothing if the question changes with the machine or the version."""
    digest = hashlib.sha256(selfcheck.built_in_image(45, 60).tobytes()).hexdigest()

    assert digest == "121106b8395921deff5c5b54d73b037f1719ba6b90878a284a12929f69fbc657"


def test_picture_is_rich() -> None:
    """Each channel must reach far, or a network that ignores one would pass."""
    image = selfcheck.built_in_image(64, 64)

    assert (image.reshape(-1, 3).std(axis=0) > 60).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3)])
def test_picture_may_be_tiny(size: tuple[int, int]) -> None:
    assert selfcheck.built_in_image(*size).shape == (1, *size, 3)


def test_answer_survives_json() -> None:
    answer = Answer.of(logits_of())

    assert Answer.from_json(answer.to_json(), source="x") == answer


def test_same_logits_differ_by_nothing() -> None:
    assert Answer.of(logits_of()).check(logits_of(), source="x") == SelfTestResult(
        difference=0, agreement=1
    )


def test_rounding_passes() -> None:
    """Another processor adds in another order."""
    logits = logits_of()

    assert Answer.of(logits).check(
        logits * np.float32(1.00001), source="x"
    ).difference == pytest.approx(1e-5, rel=0.1)


def test_difference_of_a_logit_is_refused() -> None:
    """All labels stay equal when all logits grow by half, and yet it is another network."""
    with pytest.raises(GateError, match="differ by 50"):
        Answer.of(logits_of()).check(logits_of() * np.float32(1.5), source="x")


def test_difference_of_labels_is_refused() -> None:
    """Logits off the sparse grid are covered by the labels."""
    logits = logits_of()
    changed = logits.copy()
    changed[:, :, 3:6] += np.array([0, 0, 0, 9], np.float32)[None, :, None, None]

    with pytest.raises(GateError, match="of the labels are equal"):
        Answer.of(logits).check(changed, source="x")


def test_numbers_that_are_none_are_refused() -> None:
    """NaN compares false with everything, also with a tolerance."""
    with pytest.raises(GateError):
        Answer.of(logits_of()).check(np.full_like(logits_of(), np.nan), source="x")


def test_another_shape_is_refused() -> None:
    with pytest.raises(GateError, match=r"\(1, 4, 45, 30\)"):
        Answer.of(logits_of()).check(logits_of()[..., ::2], source="x")


def test_classes_are_met_by_their_labels_alone() -> None:
    """A file that answers classes has no logits to compare.

    One label of 45 x 60 may differ, a ninth may not.
    """
    classes = np.asarray(logits_of().argmax(1), np.uint8)
    answer = Answer.from_json(Answer.of(classes).to_json(), source="x")
    close, far = classes.copy(), classes.copy()
    close[0, 0, 0] ^= 1
    far[:, :5] ^= 1

    assert answer.check(close, source="x") == SelfTestResult(
        difference=None, agreement=1 - 1 / (45 * 60)
    )
    with pytest.raises(GateError, match=r"88\.89% of the labels are equal; export it again"):
        answer.check(far, source="x")


def test_tolerance_travels_with_the_answer() -> None:
    """Eight bits are rounded otherwise on another processor.

    How far is allowed is the exporter's word.
    """
    answer = Answer.from_json(Answer.of(logits_of(), tolerance=0.6).to_json(), source="x")

    assert answer.check(logits_of() * np.float32(1.5), source="x").difference == pytest.approx(0.5)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "[" * 5000, '{"shape": 3}', '{"shape": [1, 2]}']
)
def test_damaged_answer_is_a_model_error(text: str) -> None:
    with pytest.raises(ModelError, match="damaged answer"):
        Answer.from_json(text, source="x")


@pytest.mark.parametrize("key", ["logits", "labels"])
@pytest.mark.parametrize("value", ["", "AAAA", "not base64!", "ü"])
def test_damaged_numbers_are_a_model_error(key: str, value: str) -> None:
    values = {**json.loads(Answer.of(logits_of()).to_json()), key: value}

    with pytest.raises(ModelError, match="damaged answer"):
        Answer.from_json(json.dumps(values), source="x").check(logits_of(), source="x")
