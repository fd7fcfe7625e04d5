"""Similarity is measured in bits, and leakage is distinguished from chance."""

import cv2
import numpy as np
import pytest

from segdeploy.datasets.checks.duplicates import (
    NEAR,
    at_least,
    nearest,
    perceptual_hash,
    shared_scenes,
    shared_sequences,
)
from segdeploy.datasets.split import sequence


def draw(seed):
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC)


def distance(one, other):
    return int(np.bitwise_count(perceptual_hash(one) ^ perceptual_hash(other)).sum())


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.imdecode(
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR
        ),
        lambda image: cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
        lambda image: cv2.convertScaleAbs(image, alpha=0.8, beta=20),
    ],
    ids=["saved again", "resized", "lightened"],
)
def test_usual_changes_of_copies_change_few_bits(change):
    """A copy is rarely identical."""
    assert distance(draw(0), change(draw(0))) <= NEAR


def test_different_images_differ_in_about_half_of_the_bits():
    """256 coins: 128 with a standard deviation of 8; 80, twice the threshold, is 6 of them off."""
    assert all(distance(draw(0), draw(seed)) > 2 * NEAR for seed in range(1, 30))


def test_nearest_is_found_in_blocks_too():
    """More images than are compared at once."""
    random = np.random.default_rng(0)
    others = random.integers(0, 2**63, (50, 4), dtype=np.uint64)
    expected = random.integers(0, 50, 600)
    hashes = others[expected] ^ np.array([7, 0, 0, 1], np.uint64)

    index, bits = nearest(hashes, others)

    assert index.tolist() == expected.tolist()
    assert set(bits.tolist()) == {4}


@pytest.mark.slow
def test_ten_thousand_images_are_fast():
    """A hundred million comparisons."""
    hashes = np.random.default_rng(0).integers(0, 2**63, (10_000, 4), dtype=np.uint64)

    index, _ = nearest(hashes, hashes)

    assert index.tolist() == list(range(10_000))


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("0016E5_07959", "0016E5_"),
        ("472/frame34862", "472/frame"),
        ("aachen_000003_000019", "aachen_000003_"),
        ("Seq05VD_f00000", "Seq05VD_f"),
        ("0cdf5b5d0ce1_01", "0cdf5b5d0ce1_"),
        ("img12_left", "img"),
        ("portrait", "portrait"),
    ],
)
def test_a_sequence_ends_before_the_last_number(name, prefix):
    """Names of drives and series, as datasets have them."""
    assert sequence(name) == prefix


def test_a_shared_name_is_not_enough():
    """With one sequence in all, the nearest image is always of the same one."""
    assert (
        shared_sequences(
            [f"img_{n}" for n in range(50)], [f"img_{n}" for n in range(50, 100)], np.arange(50)
        )
        == []
    )


def test_images_nearest_to_their_own_sequence_are_reported():
    """Twelve of twelve where chance is a half: 1 in 4096."""
    names = [f"a_{n}" for n in range(12)] + [f"c_{n}" for n in range(12)]
    others = [f"a_{n}" for n in range(10)] + [f"b_{n}" for n in range(10)]

    assert shared_sequences(names, others, np.zeros(24, np.intp)) == ["a_"]
    assert shared_sequences(names, others, np.full(24, 19, np.intp)) == []


def test_chance_worked_out_by_hand():
    """At least one head of two coins, and both."""
    assert at_least(1, of=2, chance=0.5) == pytest.approx(3 / 4)
    assert at_least(2, of=2, chance=0.5) == pytest.approx(1 / 4)
    assert at_least(0, of=9, chance=0.1) == 1.0
    assert at_least(3, of=3, chance=1.0) == 1.0
    assert at_least(6000, of=10_000, chance=0.5) < 1e-80


def test_scene_on_both_sides_is_found_by_names() -> None:
    """Views of a car from other sides do not look alike; numbers of one series tell nothing."""
    cars = [[f"car{car}_{view}" for view in views] for car in (1, 2, 3) for views in ("ab", "cd")]

    assert shared_scenes([*cars[0], *cars[2]], [*cars[1], *cars[4]]) == ["car1"]
    assert shared_scenes([*cars[0], *cars[1]], [*cars[2], *cars[4]]) == []
    assert shared_scenes(["img_1", "img_2"], ["img_3"]) == []
