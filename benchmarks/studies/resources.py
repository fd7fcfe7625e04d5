"""Time and memory of an export and of a huge image.

`python -m segdeploy.benchmarks.studies.resources export|large-image`.

`export` measures `segdeploy export` of a network with random weights, in a process of its own from
its start to its end; writing the checkpoint does not count. `large-image` measures `segdeploy run
--tile` from the image's file to the mask's, in a process of its own; drawing the image does not
count.
"""

from pathlib import Path

import click
import numpy as np

from segdeploy import models
from segdeploy.cli.console import echo
from segdeploy.cli.main import invoke
from segdeploy.cli.options import ImageSize, option
from segdeploy.datasets.registry import load
from segdeploy.imaging.large import image_writer
from segdeploy.imaging.preprocess import resize
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import describe_machine

from ..measure.process import measure_command
from .networks import Candidate, randomly_initialized

PATCH_HEIGHT, PATCH_WIDTH = 500, 750
"""Size of the drawn street that is repeated over the image, in pixels."""


@click.group()
def main() -> None:
    """Measure the time and the peak memory of a command."""


@main.command()
@option(
    "--network",
    default="deeplabv3plus",
    type=click.Choice(models.names()),
    help="What is exported.",
)
@option("--imgsz", type=ImageSize(), default="512,1024", help="Height,width of its input.")
@option("--format", "formats", default="onnx", help="Format, or several with commas.")
@option(
    "--images",
    older=("--pictures",),
    default=20,
    type=click.IntRange(min=1),
    help="Images of the proof.",
)
def export(network: str, imgsz: tuple[int, int], formats: str, images: int) -> None:
    """Export a network with random weights, and print time and peak memory."""
    with temporary_folder() as folder:
        checkpoint = randomly_initialized(Candidate(network), folder, imgsz)
        options = ["--format", formats, "--dataset", "streets", "--proof-images", str(images)]
        usage = measure_command(["export", str(checkpoint), *options])
    height, width = imgsz
    echo(
        f"{network} at {height}x{width} to {formats}, proven on {images} images:"
        f" {usage.seconds:.0f} s, {usage.memory / 2**30:.2f} GiB at most, on"
        f" {describe_machine().cores} cores"
    )


@main.command("large-image")
@option("--model", required=True, type=click.Path(exists=True, path_type=Path), help="The network.")
@option(
    "--height", default=20_000, type=click.IntRange(min=1), help="Height of the image, in pixels."
)
@option(
    "--width", default=30_000, type=click.IntRange(min=1), help="Width of the image, in pixels."
)
@option("--tile", default="512", help="Size of the tiles, as in segdeploy run.")
@option(
    "--overlap",
    default=64,
    type=click.IntRange(min=0),
    help="Pixels in which neighboring tiles blend.",
)
def large_image(model: Path, height: int, width: int, tile: str, overlap: int) -> None:
    """Draw an image, segment it, and print time and peak memory."""
    with temporary_folder() as folder:
        image, output = folder / "large.tif", folder / "out"
        draw(image, height=height, width=width)
        options = ["--tile", tile, "--overlap", str(overlap), "--save", "mask"]
        usage = measure_command(
            ["run", "--model", str(model), "--image", str(image), *options, "--output", str(output)]
        )
        size = (output / "mask" / "large.tif").stat().st_size
    echo(
        f"{width} x {height} pixels in tiles of {tile}: {usage.seconds:.0f} s,"
        f" {usage.memory / 2**30:.2f} GiB at most, a mask of {size / 2**20:.1f} MiB"
    )


def draw(path: Path, *, height: int, width: int) -> None:
    """Write a tiled TIFF that repeats a drawn street."""
    street = resize(load("streets", None, "val")[3].image, PATCH_HEIGHT, width=PATCH_WIDTH)
    band = np.tile(street, (1, -(-width // PATCH_WIDTH), 1))[:, :width]
    with image_writer(path, height, width=width, bands=3) as add:
        for start in range(0, height, PATCH_HEIGHT):
            add(band[: height - start])


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.resources")
