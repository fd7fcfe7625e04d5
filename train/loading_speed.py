"""How long reading takes beside the decoding that nobody can spare, and the command `segdeploy data speed`."""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from segdeploy.arrays import Image, Mask
from segdeploy.cli.console import note, progress
from segdeploy.cli.options import plugin_option
from segdeploy.datasets.cache import Cached
from segdeploy.datasets.checks.detect import recognize
from segdeploy.datasets.dataset import Dataset
from segdeploy.datasets.index import Files
from segdeploy.datasets.registry import layout
from segdeploy.errors import DataError
from segdeploy.system.concurrency import settle_reader
from segdeploy.system.machine import cores, survey

from .augmentation import augment_to_rgb, chance
from .recipe import Recipe, read_recipe

BARE = "decode and resize"
"""What all else is compared with."""

HALF = 0.5**0.5
"""Share of an image's sides that makes half of its area."""

Act = Callable[[int], object]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast one way of reading is.

    Attributes:
        median: Milliseconds for one sample in one process; half of the samples take no longer.
        p95: The same, which 95% of the samples stay under.
        rate: Samples a second in all processes together, the median of the rounds.
        ratio: How many times the time of bare decoding and resizing one sample takes, by the rates.
    """

    median: float
    p95: float
    rate: float
    ratio: float


def measure(
    ways: Mapping[str, Act],
    samples: int,
    *,
    processes: int,
    rounds: int,
    on_step: Callable[[str], None],
) -> dict[str, Speed]:
    """Read all samples in every way, in rounds by turns.

    One more round comes first and is not timed.

    Args:
        ways: What reads a sample by its index; `BARE` is among them.
        samples: How many there are.
        processes: How many read at once, each on a core of its own.
        rounds: How often.
        on_step: Called with the way's name after each round of it.
    """
    parts = [range(start, samples, processes) for start in range(processes)]
    times: dict[str, list[float]] = {name: [] for name in ways}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=settle_reader) as pool:
        for round_ in range(rounds + 1):
            for name, act in ways.items():
                found = list(pool.map(partial(time_all, act), parts))
                on_step(name)
                if round_:
                    times[name] += [milliseconds for part in found for milliseconds in part]
                    rates[name].append(1000 * samples / max(sum(part) for part in found))
    bare = float(np.median(rates[BARE]))
    return {
        name: Speed(
            median=float(np.median(times[name])),
            p95=float(np.percentile(times[name], 95)),
            rate=float(np.median(rates[name])),
            ratio=bare / float(np.median(rates[name])),
        )
        for name in ways
    }


def time_all(act: Act, indices: range) -> list[float]:
    """Do something for each index and give the milliseconds that each took."""
    times = []
    for index in indices:
        start = time.perf_counter()
        act(index)
        times.append(1000 * (time.perf_counter() - start))
    return times


def decode(files: Files, index: int) -> tuple[Image, Mask]:
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


def decode_and_resize(files: Files, recipe: Recipe, index: int) -> None:
    """Do what no reader can do without.

    Half of the image is taken, so that there is always something to resize.
    """
    image, mask = decode(files, index)
    down, across = (round(side * (1 - HALF) / 2) for side in mask.shape)
    height, width = recipe.imgsz
    cv2.resize(image[down:-down, across:-across], (width, height))
    cv2.resize(mask[down:-down, across:-across], (width, height), interpolation=cv2.INTER_NEAREST)


def read_and_augment(samples: Dataset, recipe: Recipe, index: int) -> None:
    """Do what a training does for each sample."""
    sample = samples[index]
    augment_to_rgb(sample.image, sample.mask, recipe, chance(recipe, 0, index=index))


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--dataset", help="Name of the dataset.  [default: what lies in DATA]")
@click.option("--split", default="train", show_default=True, help="Which split.")
@click.option(
    "--recipe",
    help=(
        "Whose size and augmentation: a TOML file, or a recipe in the box.  [default: the usual"
        " values]"
    ),
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="Processes that read at once.  [default: one a core]",
)
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often all samples are read in each way.",
)
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def speed(
    *,
    data: Path,
    dataset: str | None,
    split: str,
    recipe: str | None,
    processes: int | None,
    rounds: int,
    as_json: bool,
) -> None:
    """Measure how fast the samples of a dataset are read for training.

    It is compared with OpenCV decoding image and mask and resizing them, files being in the
    system's memory; ways of reading take turns.
    """
    values = Recipe.from_dict(
        read_recipe(recipe) if recipe else {}, source=recipe or "the defaults"
    )
    files = (layout(dataset) if dataset else recognize(data)).survey(data, split).dataset()
    cached = Cached(files, room=float("inf"))
    ways: dict[str, Act] = {
        "decode": partial(decode, files),
        BARE: partial(decode_and_resize, files, values),
        "read": files.__getitem__,
        "read and augment": partial(read_and_augment, files, values),
        "read from the cache": cached.__getitem__,
        "read from the cache and augment": partial(read_and_augment, cached, values),
    }
    count = processes or cores()
    with progress("speed", len(ways) * (rounds + 1)) as on_step:
        speeds = measure(ways, len(files), processes=count, rounds=rounds, on_step=on_step)
    what = (
        f"{len(files)} samples to {values.imgsz[0]}x{values.imgsz[1]}, {count} processes, {rounds}"
        " rounds"
    )
    machine = survey()
    note(
        f"{what}, OpenCV {cv2.__version__}, {machine.processor}, {machine.cores} cores, load"
        f" {machine.load}"
    )
    if as_json:
        found = {name: asdict(figures) for name, figures in speeds.items()}
        click.echo(
            json.dumps(
                {
                    "samples": len(files),
                    "imgsz": values.imgsz,
                    "processes": count,
                    "rounds": rounds,
                    "machine": machine.to_dict(),
                    "ways": found,
                }
            )
        )
    else:
        Console().print(to_table(speeds))


def to_table(speeds: Mapping[str, Speed]) -> Table:
    """Lay out the ways of reading, a row each."""
    table = Table("way", box=None, pad_edge=False)
    for title in ("ms, median", "ms, 95%", "samples/s, all", f"time of {BARE}"):
        table.add_column(title, justify="right")
    for name, figures in speeds.items():
        table.add_row(
            name,
            f"{figures.median:.2f}",
            f"{figures.p95:.2f}",
            f"{figures.rate:.0f}",
            f"{figures.ratio:.2f}x",
        )
    return table
