"""Image and mask move together, by random numbers that can be repeated."""

import numpy as np
import pytest
import torch

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.train.augmentation import (
    Augmentation,
    ColorJitter,
    Crop,
    apply_jitter,
    apply_jitter_to_rgb,
    hue_rotation,
    largest_share,
)
from segdeploy.train.augmentation_gpu import jitter_batch
from segdeploy.train.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def blocks(height: int, width: int, side: int) -> np.ndarray:
    """Mask of blocks, each of a class of its own among 200."""
    rows, columns = np.indices((height, width)) // side
    return ((rows * 7 + columns * 13) % 200).astype(np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_image_and_mask_move_together(seed: int) -> None:
    """An image that shows its own mask must still do so after the change, away from the edges of
    the blocks.
    """
    mask = blocks(96, 120, side=24)
    recipe = Recipe(imgsz=(48, 64), color=0.0)

    image, labels = Augmentation(recipe).apply(
        np.dstack([mask] * 3), mask, np.random.default_rng(seed)
    )

    labeled = labels != IGNORE_INDEX
    inner = labeled.copy()
    for axis in (0, 1):
        for step in (-1, 1, -2, 2):
            inner &= np.roll(labels, step, axis) == labels
    assert inner.any()
    assert np.abs(image[inner].astype(int) - labels[inner][:, None]).max() <= 1


def test_every_pixel_of_a_one_pixel_grid_keeps_its_label() -> None:
    """At a scale of 1 nothing is resampled, so that the finest pattern survives, mirrored or
    not.
    """
    mask = (np.indices((24, 32)).sum(0) % 2).astype(np.uint8) * 99
    recipe = Recipe(imgsz=(24, 32), scale=(1.0, 1.0), flip=1.0, color=0.0)

    image, labels = Augmentation(recipe).apply(
        np.dstack([mask] * 3), mask, np.random.default_rng(0)
    )

    np.testing.assert_array_equal(labels, mask[:, ::-1])
    np.testing.assert_array_equal(image, np.dstack([mask[:, ::-1]] * 3))


def test_doubling_keeps_every_label_in_its_place() -> None:
    """Doubled, each pixel becomes four, in image and mask at once."""
    mask = np.arange(16, dtype=np.uint8).reshape(4, 4)
    recipe = Recipe(imgsz=(4, 4))

    _, labels = Augmentation(recipe).crop_and_resize(
        Crop(top=1, left=2, height=2, width=2), np.dstack([mask] * 3), mask
    )

    np.testing.assert_array_equal(labels, np.kron(mask[1:3, 2:4], np.ones((2, 2), np.uint8)))


def test_beyond_the_edges_is_the_mean_and_not_labeled() -> None:
    """The network must not learn from padding."""
    mask = np.full((4, 4), 3, np.uint8)
    recipe = Recipe(imgsz=(4, 4), mean=(1.0, 0.5, 0.0))

    image, labels = Augmentation(recipe).crop_and_resize(
        Crop(top=-4, left=0, height=8, width=8), np.zeros((4, 4, 3), np.uint8), mask
    )

    expected = np.full((4, 4), IGNORE_INDEX)
    expected[2:, :2] = 3
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(image[0, 0], [0, 128, 255])
    np.testing.assert_array_equal(image[3, 0], [0, 0, 0])


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (240, 320)])
def test_any_image_gives_the_requested_size(size: tuple[int, int]) -> None:
    """Tiny images and extreme scales included."""
    recipe = Recipe(imgsz=(16, 24), scale=(0.02, 50.0))
    random = np.random.default_rng(0)

    for _ in range(50):
        image, labels = Augmentation(recipe).apply(
            np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), random
        )

        assert image.shape == (16, 24, 3)
        assert labels.shape == (16, 24)
        assert (labels == 0).any()


def test_same_random_numbers_give_the_same_sample() -> None:
    """A run can be repeated, and resumed anywhere."""
    image = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    mask = blocks(60, 80, side=10)

    first = Augmentation(Recipe(imgsz=(30, 40))).apply(
        image, mask, np.random.default_rng((0, 3, 7))
    )
    second = Augmentation(Recipe(imgsz=(30, 40))).apply(
        image, mask, np.random.default_rng((0, 3, 7))
    )
    other = Augmentation(Recipe(imgsz=(30, 40))).apply(
        image, mask, np.random.default_rng((0, 4, 7))
    )

    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_crops_are_within_the_range() -> None:
    """At a scale of 1/2 four times the area is in the crop; at 2 a quarter of it."""
    random = np.random.default_rng(0)

    augmentation = Augmentation(Recipe(scale=(0.5, 2.0)))
    crops = [augmentation.draw_crop(100, 200, random) for _ in range(300)]

    assert min(crop.height for crop in crops) in range(50, 53)
    assert max(crop.height for crop in crops) in range(196, 201)
    assert all(crop.width in range(2 * crop.height - 2, 2 * crop.height + 3) for crop in crops)
    smaller = sum(crop.height > 100 for crop in crops)
    assert 120 < smaller < 180


def test_source_is_left_as_it_is() -> None:
    """Samples from the cache are shared by all processes, and by all epochs."""
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    mask = image[:, :, 0].copy()
    kept = image.copy(), mask.copy()
    image.flags.writeable = mask.flags.writeable = False

    changed, labels = Augmentation(Recipe(imgsz=(6, 8), scale=(1, 1), flip=1, color=0)).apply(
        image, mask, np.random.default_rng(0)
    )

    assert np.array_equal(changed, kept[0][:, ::-1])
    assert np.array_equal(labels, kept[1][:, ::-1])
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
        augmentation = Augmentation(recipe)
        return sum(
            largest_share(mask, augmentation.choose_crop(mask, random)) < 0.75 for _ in range(200)
        )

    assert mixed(Recipe(scale=(4.0, 4.0))) < 60
    assert mixed(Recipe(scale=(4.0, 4.0), max_share=0.75)) > 140


def test_a_crop_is_taken_where_one_class_fills_all() -> None:
    """One class alone, nothing labeled, and a crop that sees all of the image."""
    random = np.random.default_rng(0)
    for mask in (np.zeros((40, 40), np.uint8), np.full((40, 40), IGNORE_INDEX, np.uint8)):
        for scale in ((2.0, 2.0), (0.5, 0.5)):
            augmentation = Augmentation(Recipe(scale=scale, max_share=0.5))
            assert augmentation.choose_crop(mask, random).height in {20, 80}


def test_a_crop_is_a_part_at_the_inputs_own_scale() -> None:
    """Half of each side of the input is half of the image at a scale of 1."""
    recipe = Recipe(imgsz=(48, 64), crop=(24, 32), scale=(1.0, 1.0), flip=0.0, color=0.0)
    mask = blocks(96, 128, side=8)

    crop = Augmentation(recipe).draw_crop(96, 128, np.random.default_rng(0))
    image, labels = Augmentation(recipe).apply(
        np.dstack([mask] * 3), mask, np.random.default_rng(0)
    )

    assert (crop.height, crop.width) == (48, 64)
    assert (image.shape, labels.shape) == ((24, 32, 3), (24, 32))


OFF = Recipe(color=0.0, hue=0.0, blur=0.0)


def noise(*, height: int = 20, width: int = 30) -> np.ndarray:
    """Random colors that no change drives out of range."""
    return np.random.default_rng(1).integers(60, 160, (height, width, 3), dtype=np.uint8)


def on_device(image: np.ndarray, jitter: ColorJitter) -> np.ndarray:
    """The same change as a device makes it, blue-green-red again."""
    batch = torch.from_numpy(image[None, :, :, ::-1].copy())
    return jitter_batch(batch, torch.tensor([jitter.to_numbers()], dtype=torch.float64))[0].numpy()[
        :, :, ::-1
    ]


def test_strength_of_zero_changes_nothing() -> None:
    """An amount of 0 is exact, on both."""
    jitter = Augmentation(OFF).draw_jitter(np.random.default_rng(0))

    assert jitter == ColorJitter()
    np.testing.assert_array_equal(apply_jitter(noise(), jitter), noise())
    np.testing.assert_array_equal(on_device(noise(), jitter), noise())


def test_third_of_a_circle_swaps_the_colors() -> None:
    """Blue becomes green, green red and red blue; grays stay, at any angle."""
    np.testing.assert_allclose(hue_rotation(1 / 3), [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(hue_rotation(0.1) @ np.ones(3), np.ones(3))
    image = noise()

    np.testing.assert_array_equal(
        apply_jitter(image, ColorJitter(hue=1 / 3)), image[:, :, [2, 0, 1]]
    )


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [
        (ColorJitter(brightness=1.5), (150, 75, 120)),
        (ColorJitter(blue=1.5, red=0.5), (150, 50, 40)),
        # The mean of the one color's channels is 76.7: 76.7 + 0.5 (v - 76.7).
        (ColorJitter(contrast=0.5), (88, 63, 78)),
        # Its gray is 0.114 * 100 + 0.587 * 50 + 0.299 * 80 = 64.7.
        (ColorJitter(saturation=0.0), (65, 65, 65)),
    ],
)
def test_each_value_has_its_effect(jitter: ColorJitter, expected: tuple[int, int, int]) -> None:
    """Blue, green, red of one color."""
    image = np.full((8, 8, 3), (100, 50, 80), np.uint8)

    assert tuple(apply_jitter(image, jitter)[0, 0].tolist()) == expected


@pytest.mark.parametrize(
    "jitter",
    [
        ColorJitter(),
        ColorJitter(blue=1.2, red=0.7, contrast=0.8, saturation=0.6, hue=0.1),
        ColorJitter(green=0.9, blur=1.0),
    ],
)
def test_channels_are_swapped_by_the_same_matrix(jitter: ColorJitter) -> None:
    """A worker saves a pass over the image.

    The colors are those that a preview shows, but for halves that OpenCV rounds either way.
    """
    turned = apply_jitter_to_rgb(noise(), jitter).astype(int)

    assert np.abs(turned - apply_jitter(noise(), jitter)[:, :, ::-1]).max() <= 1


@pytest.mark.parametrize(
    "jitter",
    [
        ColorJitter(brightness=1.2),
        ColorJitter(blue=1.1, red=0.9),
        ColorJitter(saturation=0.7),
        ColorJitter(blur=1.2),
        ColorJitter(contrast=0.8),
    ],
)
def test_device_and_cpu_nearly_agree(jitter: ColorJitter) -> None:
    """Two libraries; the mean that contrast leaves alone is of gray in the one and of all channels
    in the other.
    """
    image = np.repeat(noise()[:, :, :1], 3, axis=2) if jitter.contrast != 1 else noise()

    assert np.abs(apply_jitter(image, jitter).astype(int) - on_device(image, jitter)).max() <= 2


def test_device_changes_each_image_by_its_own_jitter() -> None:
    """The second image of a batch is left alone, whatever happens to the first."""
    images = torch.from_numpy(np.stack([noise(), noise()]))
    jitters = torch.tensor(
        [ColorJitter(brightness=0.5, hue=0.3, blur=1.0).to_numbers(), ColorJitter().to_numbers()],
        dtype=torch.float64,
    )

    changed = jitter_batch(images, jitters)

    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert torch.equal(changed[1], images[1])
    assert changed[0].float().mean() < 0.6 * images[0].float().mean()


def test_amounts_stay_within_the_recipe() -> None:
    """A blur is as frequent as its probability, and the hue is shifted both ways."""
    random = np.random.default_rng(0)
    augmentation = Augmentation(Recipe(color=0.3, hue=0.1, blur=0.25))
    jitters = [augmentation.draw_jitter(random) for _ in range(400)]

    assert all(
        0.7 <= value <= 1.3
        for jitter in jitters
        for value in (jitter.brightness, jitter.contrast, jitter.saturation)
    )
    assert all(
        0.9 <= value <= 1.1
        for jitter in jitters
        for value in (jitter.blue, jitter.green, jitter.red)
    )
    assert min(jitter.hue for jitter in jitters) < -0.08
    assert max(jitter.hue for jitter in jitters) < 0.1
    assert 70 < sum(jitter.blur > 0 for jitter in jitters) < 130
    assert all(jitter.blur == 0 or 0.3 <= jitter.blur <= 1.5 for jitter in jitters)
