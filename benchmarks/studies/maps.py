"""Speed and memory of maps: `python -m segdeploy.benchmarks.studies.maps scene|windows`.

`scene` draws a GeoTIFF, segments it with `segdeploy run --tile` in a process of its own, and
compares the rate with that of the network alone, which is measured before and after on tiles that
are in memory. `windows` reads windows as a network takes them and with rasterio alone, by turns.
Both compare processor time too, which other programs disturb less than wall time.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import numpy as np
import rasterio
from rasterio.windows import Window

from segdeploy.backends.base import Backend
from segdeploy.backends.loading import load_backend
from segdeploy.card import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from segdeploy.cli.console import echo
from segdeploy.cli.main import invoke
from segdeploy.cli.options import option
from segdeploy.datasets.registry import load
from segdeploy.imaging.preprocess import resize, to_batch
from segdeploy.imaging.raster import Place, Raster
from segdeploy.imaging.raster_writer import MapFormat, write_map
from segdeploy.imaging.row_file import row_file
from segdeploy.inference.tiling import spans
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import describe_machine

from ..measure.process import measure_command

PLACE = Place(crs="EPSG:32632", transform=(0.5, 0.0, 500000.0, 0.0, -0.5, 5000000.0))
"""Half a meter a pixel, in UTM zone 32N."""

PATCH = 500, 750
"""Height and width of the drawn street that is repeated over a map, in pixels."""

ALONE = 40
"""Tiles of which the network's own rate is measured."""

Places = Sequence[tuple[int, int]]
"""First row and column of windows."""

Seconds = tuple[float, float]
"""Wall time and processor time."""


@click.group()
def main() -> None:
    """Measure the speed and the memory of maps."""


def times() -> Seconds:
    """Return the time, and the processor time of this process and those that it started."""
    used = os.times()
    return time.perf_counter(), sum(used[:4])


def duration(work: Callable[[], object]) -> Seconds:
    """Return how long something takes."""
    begin = times()
    work()
    end = times()
    return end[0] - begin[0], end[1] - begin[1]


@main.command()
@option("--model", required=True, type=click.Path(exists=True, path_type=Path), help="The network.")
@option("--size", default=20_000, type=click.IntRange(min=1), help="Side of the map, in pixels.")
@option("--tile", default=512, type=click.IntRange(min=32), help="Side of a tile, in pixels.")
@option("--overlap", default=64, type=click.IntRange(min=0), help="Pixels that tiles share.")
@option("--save", default="mask", help="What is saved, as in segdeploy run.")
def scene(model: Path, size: int, tile: int, overlap: int, save: str) -> None:
    """Segment a map, and print its rate beside the network's own, and the peak memory."""
    count = len(spans(size, tile, overlap=overlap)) ** 2
    with temporary_folder() as folder:
        path = folder / "scene.tif"
        draw(path, height=size, width=size)
        options = ["--tile", str(tile), "--overlap", str(overlap), "--save", save]
        arguments = ["run", "--model", str(model), str(path), *options, "--output", str(folder)]
        before = alone(model, tile)
        begin = times()
        usage = measure_command(arguments)
        whole = times()[0] - begin[0], times()[1] - begin[1]
        after = alone(model, tile)
    wall, processor = (count * (one + other) / 2 for one, other in zip(before, after, strict=True))
    echo(
        f"{size} x {size} pixels, {count} tiles of {tile}, --save {save}: {whole[0]:.0f} s and"
        f" {whole[1]:.0f} s of processor time, {usage.memory / 2**30:.2f} GiB at most"
    )
    echo(
        f"the network alone: {wall:.0f} s and {processor:.0f} s of processor time; the run has"
        f" {wall / whole[0]:.2f} of its rate, {processor / whole[1]:.2f} by processor time, on"
        f" {describe_machine().cores} cores"
    )


def alone(model: Path, tile: int) -> Seconds:
    """Return the time of the network for one tile that is in memory."""
    backend: Backend = load_backend(model)
    street = load("streets", None, "val")[3].image
    batch = to_batch([resize(street, tile, width=tile)], backend.card.input)
    backend.run(batch)
    wall, processor = duration(lambda: [backend.run(batch) for _ in range(ALONE)])
    return wall / ALONE, processor / ALONE


@main.command()
@option("--size", default=8_000, type=click.IntRange(min=1024), help="Side of the map, in pixels.")
@option("--window", default=512, type=click.IntRange(min=16), help="Side of a window, in pixels.")
@option("--count", default=200, type=click.IntRange(min=1), help="Windows that are read.")
@option("--rounds", default=5, type=click.IntRange(min=1), help="Rounds over all windows.")
def windows(size: int, window: int, count: int, rounds: int) -> None:
    """Read windows of a map with our reader and with rasterio alone, and print the ratio."""
    spec = InputSpec(height=window, width=window, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    places = np.random.default_rng(0).integers(0, size - window + 1, (count, 2)).tolist()
    totals = np.zeros((2, 2))
    with temporary_folder() as folder:
        path = folder / "scene.tif"
        draw(path, height=size, width=size)
        for _ in range(rounds):
            raster = Raster(path, spec)
            totals[0] += duration(partial(_read_as_taken, raster, places, window))
            with rasterio.open(path) as file:
                totals[1] += duration(partial(_read_alone, file, places, window))
    ours, theirs = totals / (rounds * count) * 1000
    echo(
        f"a window of {window} pixels: {ours[0]:.2f} ms, rasterio alone {theirs[0]:.2f} ms;"
        f" {ours[0] / theirs[0]:.2f} times its time, {ours[1] / theirs[1]:.2f} times its processor"
        " time"
    )


def _read_as_taken(raster: Raster, places: Places, side: int) -> None:
    for row, column in places:
        raster.window(row, column, height=side, width=side)


def _read_alone(file: rasterio.DatasetReader, places: Places, side: int) -> None:
    for row, column in places:
        file.read(window=Window(column, row, side, side))


def draw(path: Path, *, height: int, width: int) -> None:
    """Write a map that repeats a drawn street."""
    street = resize(load("streets", None, "val")[3].image, PATCH[0], width=PATCH[1])[:, :, ::-1]
    band = np.tile(street, (1, -(-width // PATCH[1]), 1))[:, :width]
    with row_file(path, shape=(height, width, 3)) as rows:
        for start in range(0, height, PATCH[0]):
            rows.add(np.asarray(band[: height - start], dtype=np.uint8))
        write_map(path, rows.rows(), PLACE, MapFormat(nodata=0))


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.maps")
