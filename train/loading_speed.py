"""`segdeploy data speed`: how fast samples are read, beside bare decoding and resizing."""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import click
import cv2
import numpy as np
from rich.table import Table

from segdeploy.arrays import Image, Mask
from segdeploy.cli.console import add_row, echo, note, progress, show
from segdeploy.cli.options import (
    Command,
    json_option,
    option,
    options,
    plugin_option,
    section,
)
from segdeploy.datasets.cache import CachedDataset
from segdeploy.datasets.checks.detect import detect_layout
from segdeploy.datasets.dataset import Dataset
from segdeploy.datasets.index import FileDataset
from segdeploy.datasets.registry import layout
from segdeploy.errors import DataError
from segdeploy.system.concurrency import process_context, set_up_reader
from segdeploy.system.machine import cores, describe_machine

from .augmentation import Augmentation, sample_rng
from .recipe import Recipe
from .recipe_file import load_recipe

BARE = "decode and resize"
"""The baseline of all ratios."""

HALF = 0.5**0.5
"""Share of an image's sides that makes half of its area."""

Read = Callable[[int], object]
"""Reads the sample of an index."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast one method of reading is.

    Attributes:
        median: Median time of one sample in one process, in milliseconds.
        p95: 95th percentile of that time.
        rate: Samples per second of all processes together, the median of the rounds.
        ratio: Time of one sample by that of bare decoding and resizing, from the rates.
    """

    median: float
    p95: float
    rate: float
    ratio: float


def measure(
    readers: Mapping[str, Read],
    samples: int,
    *,
    processes: int,
    rounds: int,
    on_step: Callable[[str], None],
) -> dict[str, Speed]:
    """Read all samples with every method, in alternating rounds, after a warm-up round.

    Args:
        readers: What reads a sample, by a name; `BARE` is among them.
        samples: Number of samples.
        processes: Processes that read at once.
        rounds: Number of timed rounds.
        on_step: Called with the name of a method after each of its rounds.
    """
    parts = [range(start, samples, processes) for start in range(processes)]
    times: dict[str, list[float]] = {name: [] for name in readers}
    rates: dict[str, list[float]] = {name: [] for name in readers}
    with ProcessPoolExecutor(
        processes, process_context("spawn"), initializer=set_up_reader
    ) as pool:
        for number in range(rounds + 1):
            for name, read in readers.items():
                of_parts = list(pool.map(partial(time_all, read), parts))
                on_step(name)
                if number:
                    times[name] += [milliseconds for part in of_parts for milliseconds in part]
                    rates[name].append(1000 * samples / max(sum(part) for part in of_parts))
    bare = float(np.median(rates[BARE]))
    return {
        name: Speed(
            median=float(np.median(times[name])),
            p95=float(np.percentile(times[name], 95)),
            rate=float(np.median(rates[name])),
            ratio=bare / float(np.median(rates[name])),
        )
        for name in readers
    }


def time_all(read: Read, indices: range) -> list[float]:
    """Read each sample, and return the milliseconds that each took."""
    times = []
    for index in indices:
        start = time.perf_counter()
        read(index)
        times.append(1000 * (time.perf_counter() - start))
    return times


def decode(files: FileDataset, index: int) -> tuple[Image, Mask]:
    """Decode image and mask by OpenCV alone: no check, no orientation, no classes."""
    pair = files.pairs[index]
    image = cv2.imdecode(np.fromfile(pair.image, np.uint8), cv2.IMREAD_COLOR)
    mask = cv2.imdecode(np.fromfile(pair.mask or pair.image, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None or mask is None:
        msg = (
            f"OpenCV alone cannot decode {pair.image if image is None else pair.mask}; there is"
            " nothing to compare with"
        )
        raise DataError(msg)
    return np.asarray(image, dtype=np.uint8), np.asarray(mask, dtype=np.uint8)


def decode_and_resize(files: FileDataset, recipe: Recipe, index: int) -> None:
    """Decode a sample, and resize half of its area, so that there always is something to resize."""
    image, mask = decode(files, index)
    top, left = (round(side * (1 - HALF) / 2) for side in mask.shape)
    height, width = recipe.imgsz
    cv2.resize(image[top:-top, left:-left], (width, height))
    cv2.resize(mask[top:-top, left:-left], (width, height), interpolation=cv2.INTER_NEAREST)


def read_and_augment(samples: Dataset, recipe: Recipe, index: int) -> None:
    """Read and augment a sample as a training does."""
    sample = samples[index]
    rng = sample_rng(recipe, 0, index=index)
    Augmentation(recipe).apply_to_rgb(sample.image, sample.mask, rng)


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """Options of `segdeploy data speed`.

    Attributes:
        data: Folder of the dataset.
        dataset: Name of the dataset; None to detect it.
        split: Split of the dataset.
        recipe: Recipe with size and augmentation; None for the defaults.
        processes: Processes that read at once; None for one per core.
        rounds: Number of timed rounds.
        as_json: Whether the values are printed as JSON.
    """

    data: Path
    dataset: str | None
    split: str
    recipe: str | None
    processes: int | None
    rounds: int
    as_json: bool


@click.command("speed", cls=Command)
@click.argument("data", type=click.Path(path_type=Path))
@section(
    "Dataset",
    option(
        "--dataset", show_default="detected from the files in DATA", help="Name of the dataset."
    ),
    option("--split", default="train", help="Split of the dataset."),
)
@section(
    "Measurement",
    option(
        "--recipe",
        show_default="default values",
        help="Recipe with size and augmentation: a TOML file, or the name of a bundled recipe.",
    ),
    option(
        "--processes",
        type=click.IntRange(min=1),
        show_default="one per core",
        help="Processes that read at once.",
    ),
    option(
        "--rounds",
        default=5,
        type=click.IntRange(min=1),
        help="How often all samples are read with each method.",
    ),
)
@section("Output", json_option("the values"))
@plugin_option
@options(SpeedOptions)
def speed(options: SpeedOptions) -> None:
    """Measure how fast the samples of a dataset are read for training.

    The baseline is OpenCV that decodes image and mask and resizes them. Files are in the system's
    cache, and the methods take turns.
    """
    recipe = load_recipe(options.recipe)
    chosen = layout(options.dataset) if options.dataset else detect_layout(options.data)
    files = chosen.index(options.data, options.split).dataset()
    readers = make_readers(files, recipe)
    count = options.processes or cores()
    with progress("speed", len(readers) * (options.rounds + 1)) as on_step:
        speeds = measure(
            readers, len(files), processes=count, rounds=options.rounds, on_step=on_step
        )
    machine = describe_machine()
    note(
        f"{len(files)} samples to {recipe.imgsz[0]}x{recipe.imgsz[1]}, {count} processes,"
        f" {options.rounds} rounds, OpenCV {cv2.__version__}, {machine.processor},"
        f" {machine.cores} cores, load {machine.load}"
    )
    if not options.as_json:
        show(to_table(speeds))
        return
    values = {
        "samples": len(files),
        "imgsz": recipe.imgsz,
        "processes": count,
        "rounds": options.rounds,
        "machine": asdict(machine),
        "ways": {name: asdict(value) for name, value in speeds.items()},
    }
    echo(json.dumps(values))


def make_readers(files: FileDataset, recipe: Recipe) -> dict[str, Read]:
    """Return the methods of reading that are compared."""
    cached = CachedDataset(files, room=float("inf"))
    return {
        "decode": partial(decode, files),
        BARE: partial(decode_and_resize, files, recipe),
        "read": files.__getitem__,
        "read and augment": partial(read_and_augment, files, recipe),
        "read from the cache": cached.__getitem__,
        "read from the cache and augment": partial(read_and_augment, cached, recipe),
    }


def to_table(speeds: Mapping[str, Speed]) -> Table:
    """Return a table with a row for each method of reading."""
    table = Table("reading", box=None, pad_edge=False)
    for title in ("median ms", "p95 ms", "samples/s, all", f"time / {BARE}"):
        table.add_column(title, justify="right")
    for name, value in speeds.items():
        add_row(
            table,
            name,
            f"{value.median:.2f}",
            f"{value.p95:.2f}",
            f"{value.rate:.0f}",
            f"{value.ratio:.2f}x",
        )
    return table
