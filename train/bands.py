"""Bands and bits of a run: what its images hold, and the numbers that a network starts from."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from segdeploy.card import IMAGENET_MEAN, InputSpec, Intensity
from segdeploy.cli.console import note
from segdeploy.datasets.bands import first_stored, names_of_bands, selection_of, unusual_stored
from segdeploy.datasets.dataset import Dataset, evenly_spaced, with_bands
from segdeploy.datasets.registry import load
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.bands import BandSelection, StoredBands

from .recipe import Recipe, read_intensity

MEASURED_IMAGES = 100
"""Images of the training split from which percentiles, mean and deviation are taken."""

MEASURED_NUMBERS = 1 << 14
"""Numbers of each band of an image that are taken."""

LEAST_STD = 1e-6
"""Deviation below which a band is constant; it is divided by 1 then."""

Numbers = npt.NDArray[np.float64]


class Measured(NamedTuple):
    """What the numbers of a training split say, a number for each channel."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def input_spec(recipe: Recipe, *, stride: int = 1) -> InputSpec:
    """Return how an image becomes the input of a recipe's network.

    Args:
        recipe: A recipe whose bands are resolved.
        stride: Stride of the network.
    """
    height, width = recipe.imgsz
    spec = InputSpec(height=height, width=width, mean=recipe.mean, std=recipe.std, stride=stride)
    if not recipe.has_bands:
        return spec
    rule, _ = read_intensity(recipe.intensity)
    assert recipe.dtype != "auto", "it is resolved"
    return replace(
        spec,
        channels=recipe.channels,
        dtype=recipe.dtype,
        bands=recipe.bands,
        intensity=Intensity(rule=rule, low=recipe.low, high=recipe.high),
    )


def selected(samples: Dataset, recipe: Recipe) -> Dataset:
    """Return a dataset with the bands of a recipe, which are resolved.

    Raises:
        ConfigError: It makes images of its own.
    """
    if not recipe.has_bands:
        return samples
    return with_bands(samples, BandSelection.of(input_spec(recipe)))


def resolve_bands(recipe: Recipe) -> Recipe:
    """Return a recipe that says which bands it trains on, with mean and deviation of them.

    Images of 8 bits and of gray or color stay what they are; of others all bands and bits are
    taken, unless the recipe says which.

    Args:
        recipe: It may say nothing about bands, or all.

    Raises:
        ConfigError: Its bands are not those of the images.
        DataError: An image cannot be read.
    """
    if recipe.has_bands and len(recipe.mean) == len(recipe.channels) and recipe.dtype != "auto":
        return recipe
    asked = bool(recipe.bands or recipe.channels or recipe.intensity != "unit")
    if recipe.dtype == "uint8" and not asked:
        return recipe
    asked = asked or recipe.dtype != "auto"
    try:
        train = load(recipe.dataset, Path(recipe.data) if recipe.data else None, "train")
    except DataError:
        if asked:
            raise
        # Reported by what opens the data to train.
        return recipe
    stored = first_stored(train) if asked else unusual_stored(train)
    if stored is None:
        return recipe
    selection = choose(recipe, stored)
    samples = with_bands(train, selection)
    measured = measure(samples, recipe.intensity, selection)
    own = recipe.mean != IMAGENET_MEAN and len(recipe.mean) == len(selection.channels)
    resolved = replace(
        recipe,
        channels=selection.channels,
        dtype=selection.dtype,
        low=measured.low,
        high=measured.high,
        mean=recipe.mean if own else measured.mean,
        std=recipe.std if own else measured.std,
    )
    if input_spec(resolved).is_plain:
        return recipe
    note(
        f"the network takes {len(selection.channels)} bands of {selection.dtype}"
        f" ({', '.join(selection.channels)[:100]}), with all their bits; mean and deviation are"
        f" those of up to {MEASURED_IMAGES} images"
    )
    return resolved


def with_bands_of(recipe: Recipe, samples: Dataset) -> Recipe:
    """Return a recipe for the bands that a dataset reads, with their mean."""
    selection = selection_of(samples)
    if selection is None:
        return recipe
    measured = measure(samples, "unit", selection)
    return replace(
        recipe,
        channels=selection.channels,
        dtype=selection.dtype,
        mean=measured.mean,
        std=measured.std,
    )


def choose(recipe: Recipe, stored: StoredBands) -> BandSelection:
    """Return which bands a recipe trains on, by what an image holds.

    Raises:
        ConfigError: It names bands that are not there, or other channels.
    """
    count = stored.pixels.shape[2]
    if recipe.bands and max(recipe.bands) > count:
        msg = f"the bands are {list(recipe.bands)}, and the images have {count}; name these"
        raise ConfigError(msg)
    indices = [number - 1 for number in recipe.bands] or list(stored.usual)
    names = names_of_bands(stored)
    channels = recipe.channels or tuple(names[index] for index in indices)
    by_name = not recipe.bands and set(channels) <= set(stored.names)
    if len(channels) != len(indices) and not by_name:
        msg = (
            f"the channels are {', '.join(channels)}, and the images have {len(indices)} bands;"
            " name each, or choose bands"
        )
        raise ConfigError(msg)
    dtype = stored.dtype if recipe.dtype == "auto" else recipe.dtype
    return BandSelection(channels=channels, dtype=dtype, numbers=recipe.bands)


def measure(samples: Dataset, intensity: str, selection: BandSelection) -> Measured:
    """Return the limits of a rule, and mean and deviation after it, of some training images.

    Args:
        samples: The training split, with its bands selected.
        intensity: The rule, as a recipe has it.
        selection: The bands.

    Raises:
        ConfigError: A percentile's two numbers are equal.
    """
    rule, numbers = read_intensity(intensity)
    columns = _numbers(samples, selection)
    count = len(selection.channels)
    if rule == "unit":
        spec = InputSpec(
            height=1, width=1, mean=(0,) * count, std=(1,) * count,
            channels=selection.channels, dtype=selection.dtype,
        )  # fmt: skip
        low, high = spec.limits
    elif rule == "percentile":
        pairs = [np.percentile(column, numbers) for column in columns]
        low, high = zip(*[(float(a), float(b)) for a, b in pairs], strict=True)
    else:
        low, high = ((float(number),) * count for number in numbers)
    for name, one, other in zip(selection.channels, low, high, strict=True):
        if one >= other:
            msg = (
                f"the {intensity} of {name} are {one:g} and {other:g}; choose wider ones, or leave"
                " the band out"
            )
            raise ConfigError(msg)
    units = [
        (column - one) / (other - one)
        for column, one, other in zip(columns, low, high, strict=True)
    ]
    if rule != "unit":
        units = [column.clip(0, 1) for column in units]
    stds = [float(column.std()) for column in units]
    return Measured(
        low=() if rule == "unit" else low,
        high=() if rule == "unit" else high,
        mean=tuple(float(column.mean()) for column in units),
        std=tuple(std if std > LEAST_STD else 1.0 for std in stds),
    )


def _numbers(samples: Dataset, selection: BandSelection) -> list[Numbers]:
    """Return numbers of each channel, in their order; those that are none are left out."""
    parts: list[list[npt.NDArray[Any]]] = [[] for _ in selection.channels]
    for index in evenly_spaced(len(samples), MEASURED_IMAGES):
        image = samples[index].image
        if selection.is_color:
            image = image[:, :, ::-1]
        step = max(1, round((image.shape[0] * image.shape[1] / MEASURED_NUMBERS) ** 0.5))
        for channel, part in enumerate(parts):
            part.append(image[::step, ::step, channel].ravel())
    columns = [np.concatenate(part).astype(np.float64) for part in parts]
    columns = [column[np.isfinite(column)] for column in columns]
    for name, column in zip(selection.channels, columns, strict=True):
        if not column.size:
            msg = f"the band {name} of the training images holds no number; leave it out"
            raise DataError(msg)
    return columns
