"""A training takes all bands and bits of its images, and what it measured is what runs."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segdeploy.card import InputSpec
from segdeploy.datasets.registry import load, read_for
from segdeploy.errors import ConfigError
from segdeploy.inference.evaluation import evaluate
from segdeploy.inference.predictor import Predictor
from segdeploy.inference.self_test import built_in_batch, built_in_image
from segdeploy.train.augmentation import Augmentation
from segdeploy.train.bands import input_spec, resolve_bands
from segdeploy.train.recipe import Recipe, read_intensity
from tests.helpers.cli import run_cli

CLASSES = """
[[classes]]
name = "field"
id = 0
[[classes]]
name = "water"
id = 1
"""


def write_images(folder: Path, *, bands: int, low: int, step: int, count: int = 10) -> None:
    """Write 16-bit images as NumPy files, whose last band alone tells the classes apart."""
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.toml").write_text(CLASSES)
    for index in range(count):
        # Squares at random, of which the place tells nothing.
        mask = np.kron(random.integers(0, 2, (3, 3)), np.ones((16, 16))).astype(np.uint8)
        image = random.integers(low, low + 40, (48, 48, bands))
        image[..., -1] += step * mask.astype(int)
        image = image.astype(np.uint16)
        if bands == 1:
            cv2.imwrite(str(folder / "images" / f"{index:02}.png"), image)
        else:
            tifffile = pytest.importorskip("tifffile")
            path = folder / "images" / f"{index:02}.tif"
            tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
        cv2.imwrite(str(folder / "masks" / f"{index:02}.png"), mask)


@pytest.fixture(scope="module")
def gray(tmp_path_factory: Any) -> Path:
    """Gray images of 16 bits whose upper 8 are alike: 0x5000 to 0x50c8."""
    folder = tmp_path_factory.mktemp("gray")
    write_images(folder, bands=1, low=0x5000, step=160)
    return Path(folder)


def test_recipe_of_gray_images_of_16_bits_has_their_numbers(gray: Path) -> None:
    """Mean and deviation in units of 65535, and no bit is lost."""
    recipe = resolve_bands(Recipe(dataset="folder", data=str(gray), imgsz=(48, 48)))

    spec = input_spec(recipe)
    assert (spec.channels, spec.dtype) == (("gray",), "uint16")
    assert 0x5000 / 65535 < spec.mean[0] < 0x50C8 / 65535
    assert 1e-4 < spec.std[0] < 2e-3
    assert Recipe.from_dict(recipe.to_dict(), source="a recipe") == recipe
    assert resolve_bands(recipe) is recipe


def test_percentiles_are_measured_once_and_stored_as_numbers(gray: Path) -> None:
    given = Recipe(dataset="folder", data=str(gray), imgsz=(48, 48), intensity="percentile:0:100")

    spec = input_spec(resolve_bands(given))

    assert spec.intensity.rule == "percentile"
    assert 0x5000 <= spec.intensity.low[0] < 0x5010
    assert 0x50B0 < spec.intensity.high[0] <= 0x50C8


def test_usual_images_leave_a_recipe_as_it_is() -> None:
    """What was trained before is trained as before, and its card has the same keys."""
    recipe = Recipe(dataset="streets", imgsz=(96, 128))

    assert resolve_bands(recipe) is recipe
    assert not {"channels", "bands", "dtype", "intensity", "low", "high"} & recipe.to_dict().keys()


def test_images_that_a_dataset_makes_have_no_other_bands() -> None:
    with pytest.raises(ConfigError, match="makes images of its own"):
        resolve_bands(Recipe(dataset="streets", intensity="range:0:100"))


@pytest.mark.parametrize("text", ["window", "range:5", "range:5:5", "percentile:-1:99", "log:1:2"])
def test_impossible_intensities_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="it must be unit, range:LOW:HIGH"):
        Recipe(intensity=text)


def test_window_is_a_center_and_a_width() -> None:
    """40 and 400 are the window of soft tissue: -160 to 240."""
    assert read_intensity("window:40:400") == ("window", (-160, 240))


def test_bands_that_are_no_colors_keep_their_numbers() -> None:
    """A factor of a measured number is another measurement; crops and flips are not."""
    recipe = Recipe(
        channels=tuple("abcde"), dtype="uint16", mean=(0.5,) * 5, std=(0.1,) * 5, imgsz=(32, 32),
        color=0.9, hue=0.5, scale=(1.0, 1.0),
    )  # fmt: skip
    image = np.full((32, 32, 5), (1, 2, 3, 4, 60000), np.uint16)

    for seed in range(5):
        rng = np.random.default_rng(seed)
        augmented, _ = Augmentation(recipe).apply_to_rgb(image, np.zeros((32, 32), np.uint8), rng)
        np.testing.assert_array_equal(augmented, image)


def test_padding_of_bands_is_neutral() -> None:
    """Half of 65535 in each of five bands, beyond an image that is scaled to a half."""
    recipe = Recipe(
        channels=tuple("abcde"), dtype="uint16", mean=(0.5,) * 5, std=(0.1,) * 5, imgsz=(32, 32),
        scale=(0.5, 0.5),
    )  # fmt: skip
    image = np.zeros((32, 32, 5), np.uint16)

    augmented, mask = Augmentation(recipe).apply(
        image, np.zeros((32, 32), np.uint8), np.random.default_rng(0)
    )

    assert set(np.unique(augmented[mask == 255])) == {32768}
    assert set(np.unique(augmented[mask == 0])) == {0}


def test_built_in_image_differs_in_all_bits_and_stays_for_colors() -> None:
    """`verify` must see an input that is read as 8 bits, and old files must pass."""
    spec = InputSpec(
        height=32,
        width=48,
        mean=(0.5,) * 5,
        std=(0.2,) * 5,
        channels=tuple("abcde"),
        dtype="uint16",
    )
    plain = InputSpec(height=32, width=48, mean=(0.5,) * 3, std=(0.2,) * 3)

    batch = built_in_batch(spec)

    assert (batch.shape, batch.dtype) == ((1, 32, 48, 5), np.uint16)
    assert len(np.unique(batch & 0xFF)) > 60
    np.testing.assert_array_equal(built_in_batch(plain), built_in_image(32, 48))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bands", "low", "step"), [(5, 20000, 8000), (1, 0x5000, 160)], ids=["band 5", "lower bits"]
)
def test_what_only_bands_or_lower_bits_tell_is_learned_exported_and_run(
    bands: int, low: int, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From training to a mask, by every command on the way; read as 8 bits it is chance."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "data", bands=bands, low=low, step=step, count=16)

    def succeed(*command: str) -> None:
        assert run_cli(*command) == 0

    train = (
        "train", "--data", "data", "--model", "unet", "--set", "arguments.width=8", "--imgsz", "48",
        "--batch", "4", "--epochs", "30", "--lr", "0.005", "--workers", "0", "--threads", "1",
        "--val-every", "30",
    )  # fmt: skip
    succeed(*train, "--name", "a")
    best = Path("runs/train/a/best.pt")
    succeed("export", str(best), "--format", "onnx,openvino", "--data", "data")
    succeed("verify", str(best.with_suffix(".onnx")))
    succeed("data", "check", "data")
    succeed("data", "stats", "data")
    succeed("data", "preview", "data", "--augmented", "--bands", "1")
    image = str(min(Path("data/images").iterdir()))
    succeed("run", "--model", str(best.with_suffix(".onnx")), "--image", image, "--output", "out")
    from segdeploy.backends.loading import load_backend

    predictor = Predictor(load_backend(best.with_suffix(".onnx")))
    samples = read_for(load("folder", Path("data"), "val"), predictor.card)
    scores = evaluate(predictor, samples, on_step=lambda _: None)

    assert predictor.card.schema == 2
    assert scores.miou >= 0.95
    if bands == 1:
        succeed(*train, "--name", "b", "--set", "dtype=uint8")
        lost = evaluate(
            Predictor(load_backend(Path("runs/train/b/best.pt"))),
            load("folder", Path("data"), "val"),
            on_step=lambda _: None,
        )
        assert lost.miou <= 0.5
