"""Image and mask move together, by chance that can be repeated."""

import numpy as np
import pytest

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.train.augmentation import (
    Window,
    augment,
    choose_window,
    draw_window,
    largest_share,
    look_through,
)
from segdeploy.train.recipe import Recipe


def blocks(height: int, width: int, side: int) -> np.ndarray:
    """Mask of blocks, each of a class of its own among 200."""
    rows, columns = np.indices((height, width)) // side
    return ((rows * 7 + columns * 13) % 200).astype(np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_picture_and_mask_move_together(seed: int) -> None:
    """An image that shows its own mask must still do so after the change, away from the edges of
    the blocks.
    """
    mask = blocks(96, 120, side=24)
    recipe = Recipe(imgsz=(48, 64), color=0.0)

    image, truth = augment(np.dstack([mask] * 3), mask, recipe, np.random.default_rng(seed))

    labelled = truth != IGNORE_INDEX
    inner = labelled.copy()
    for axis in (0, 1):
        for step in (-1, 1, -2, 2):
            inner &= np.roll(truth, step, axis) == truth
    assert inner.any()
    assert np.abs(image[inner].astype(int) - truth[inner][:, None]).max() <= 1


def test_every_pixel_of_a_one_pixel_grid_keeps_its_label() -> None:
    """At an enlargement of 1 nothing is resampled, so that the finest pattern survives, mirrored or
    not.
    """
    mask = (np.indices((24, 32)).sum(0) % 2).astype(np.uint8) * 99
    recipe = Recipe(imgsz=(24, 32), scale=(1.0, 1.0), flip=1.0, color=0.0)

    image, truth = augment(np.dstack([mask] * 3), mask, recipe, np.random.default_rng(0))

    np.testing.assert_array_equal(truth, mask[:, ::-1])
    np.testing.assert_array_equal(image, np.dstack([mask[:, ::-1]] * 3))


def test_whole_enlargement_keeps_every_label_in_its_place() -> None:
    """Doubled, each pixel becomes four, in image and mask at once."""
    mask = np.arange(16, dtype=np.uint8).reshape(4, 4)
    recipe = Recipe(imgsz=(4, 4))

    _, truth = look_through(
        Window(top=1, left=2, height=2, width=2), np.dstack([mask] * 3), mask, recipe
    )

    np.testing.assert_array_equal(truth, np.kron(mask[1:3, 2:4], np.ones((2, 2), np.uint8)))


def test_beyond_the_edges_is_the_mean_and_not_labelled() -> None:
    """The network must learn nothing from what is not there."""
    mask = np.full((4, 4), 3, np.uint8)
    recipe = Recipe(imgsz=(4, 4), mean=(1.0, 0.5, 0.0))

    image, truth = look_through(
        Window(top=-4, left=0, height=8, width=8), np.zeros((4, 4, 3), np.uint8), mask, recipe
    )

    expected = np.full((4, 4), IGNORE_INDEX)
    expected[2:, :2] = 3
    np.testing.assert_array_equal(truth, expected)
    np.testing.assert_array_equal(image[0, 0], [0, 128, 255])
    np.testing.assert_array_equal(image[3, 0], [0, 0, 0])


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (240, 320)])
def test_any_picture_gives_the_size_asked_for(size: tuple[int, int]) -> None:
    """Tiny images and extreme enlargements included."""
    recipe = Recipe(imgsz=(16, 24), scale=(0.02, 50.0))
    random = np.random.default_rng(0)

    for _ in range(50):
        image, truth = augment(
            np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), recipe, random
        )

        assert image.shape == (16, 24, 3)
        assert truth.shape == (16, 24)
        assert (truth == 0).any()


def test_same_chance_gives_the_same_sample() -> None:
    """A run can be made again, and go on anywhere."""
    image = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    mask = blocks(60, 80, side=10)

    first = augment(image, mask, Recipe(imgsz=(30, 40)), np.random.default_rng((0, 3, 7)))
    second = augment(image, mask, Recipe(imgsz=(30, 40)), np.random.default_rng((0, 3, 7)))
    other = augment(image, mask, Recipe(imgsz=(30, 40)), np.random.default_rng((0, 4, 7)))

    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_windows_are_within_the_range() -> None:
    """Halved, four times the area is seen; doubled, a quarter of it."""
    random = np.random.default_rng(0)

    windows = [draw_window(100, 200, Recipe(scale=(0.5, 2.0)), random) for _ in range(300)]

    assert min(window.height for window in windows) in range(50, 53)
    assert max(window.height for window in windows) in range(196, 201)
    assert all(
        window.width in range(2 * window.height - 2, 2 * window.height + 3) for window in windows
    )
    smaller = sum(window.height > 100 for window in windows)
    assert 120 < smaller < 180


def test_source_is_left_as_it_is() -> None:
    """Samples from the cache are shared by all processes, and by all epochs."""
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    mask = image[:, :, 0].copy()
    kept = image.copy(), mask.copy()
    image.flags.writeable = mask.flags.writeable = False

    changed, truth = augment(
        image, mask, Recipe(imgsz=(6, 8), scale=(1, 1), flip=1, color=0), np.random.default_rng(0)
    )

    assert np.array_equal(changed, kept[0][:, ::-1])
    assert np.array_equal(truth, kept[1][:, ::-1])
    assert np.array_equal(image, kept[0])
    assert np.array_equal(mask, kept[1])


def test_crops_that_one_class_fills_are_drawn_anew() -> None:
    """Of the 76 places of a crop 12 are mixed enough.

    Of 200 crops about 32 by one try, and about 165 by ten.
    """
    mask = np.zeros((100, 100), np.uint8)
    mask[:, 80:] = 1
    random = np.random.default_rng(0)

    def mixed(recipe: Recipe) -> int:
        return sum(
            largest_share(mask, choose_window(mask, recipe, random)) < 0.75 for _ in range(200)
        )

    assert mixed(Recipe(scale=(4.0, 4.0))) < 60
    assert mixed(Recipe(scale=(4.0, 4.0), max_share=0.75)) > 140


def test_without_a_better_place_a_crop_is_taken_all_the_same() -> None:
    """One class alone, nothing labeled, and a window that sees all of the image."""
    random = np.random.default_rng(0)
    for mask in (np.zeros((40, 40), np.uint8), np.full((40, 40), IGNORE_INDEX, np.uint8)):
        for scale in ((2.0, 2.0), (0.5, 0.5)):
            assert choose_window(mask, Recipe(scale=scale, max_share=0.5), random).height in {
                20,
                80,
            }


def test_a_crop_is_a_part_at_the_inputs_own_scale() -> None:
    """Half of each side of the input is half of the image at an enlargement of 1."""
    recipe = Recipe(imgsz=(48, 64), crop=(24, 32), scale=(1.0, 1.0), flip=0.0, color=0.0)
    mask = blocks(96, 128, side=8)

    window = draw_window(96, 128, recipe, np.random.default_rng(0))
    image, truth = augment(np.dstack([mask] * 3), mask, recipe, np.random.default_rng(0))

    assert (window.height, window.width) == (48, 64)
    assert (image.shape, truth.shape) == ((24, 32, 3), (24, 32))
