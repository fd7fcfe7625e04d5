"""Time and memory of an export and of a huge image.

Timed is `segdeploy export` in a process of its own, from its start to its end, on random weights;
not the making of the checkpoint.

Timed is `segdeploy run --tile` from the image's file to the mask's, in a process of its own. Not
timed is the drawing of the image.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from segdeploy import models
from segdeploy.cli.main import invoke
from segdeploy.cli.options import ImageSize, RenamedOption
from segdeploy.datasets.registry import load
from segdeploy.imaging.large import image_writer
from segdeploy.imaging.preprocess import resize
from segdeploy.system.machine import describe_machine

from ..measure.process import measure_command
from .networks import Candidate, randomly_initialized


@click.command()
@click.option(
    "--network",
    default="deeplabv3plus",
    show_default=True,
    type=click.Choice(models.names()),
    help="What is exported.",
)
@click.option(
    "--imgsz",
    type=ImageSize(),
    default="512,1024",
    show_default=True,
    help="Height,width of its input.",
)
@click.option(
    "--format", "formats", default="onnx", show_default=True, help="Format, or several with commas."
)
@click.option(
    "--images",
    cls=RenamedOption,
    older=("--pictures",),
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="Of the proof.",
)
def export_cost(network: str, imgsz: tuple[int, int], formats: str, images: int) -> None:
    """Export a network of random weights, and print the time and the most memory that was held at once."""
    with TemporaryDirectory(prefix="segdeploy-") as folder:
        checkpoint = randomly_initialized(Candidate(network), Path(folder), imgsz)
        found = measure_command(
            [
                "export",
                str(checkpoint),
                "--format",
                formats,
                "--dataset",
                "streets",
                "--proof-images",
                str(images),
            ]
        )
    asked = "{} at {}x{} to {}, proven on {} images".format(network, *imgsz, formats, images)
    click.echo(
        f"{asked}: {found.seconds:.0f} s, {found.memory / 2**30:.2f} GiB at most, on"
        f" {describe_machine().cores} cores"
    )


def draw(path: Path, *, height: int, width: int) -> None:
    """Write an image that repeats a drawn street, in TIFF's tiles."""
    street = resize(load("streets", None, "val")[3].image, 500, width=750)
    band = np.tile(street, (1, -(-width // 750), 1))[:, :width]
    with image_writer(path, height, width=width, bands=3) as add:
        for start in range(0, height, 500):
            add(band[: height - start])


@click.command()
@click.option(
    "--model", required=True, type=click.Path(exists=True, path_type=Path), help="The network."
)
@click.option(
    "--height",
    default=20_000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Of the image, in pixels.",
)
@click.option(
    "--width",
    default=30_000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Of the image, in pixels.",
)
@click.option("--tile", default="512", show_default=True, help="Windows, as in segdeploy run.")
@click.option(
    "--overlap",
    default=64,
    show_default=True,
    type=click.IntRange(min=0),
    help="Pixels in which they blend.",
)
def large_image(model: Path, height: int, width: int, tile: str, overlap: int) -> None:
    """Draw an image, segment it, and print the time and the most memory that was held at once."""
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "large.tif"
        draw(picture, height=height, width=width)
        options = [
            "--tile",
            tile,
            "--overlap",
            str(overlap),
            "--save",
            "mask",
            "--output",
            str(Path(folder) / "out"),
        ]
        found = measure_command(["run", "--model", str(model), "--image", str(picture), *options])
        size = (Path(folder) / "out" / "mask" / "large.tif").stat().st_size
    spent = f"{found.seconds:.0f} s, {found.memory / 2**30:.2f} GiB at most"
    click.echo(
        f"{width} x {height} pixels in tiles of {tile}: {spent}, a mask of {size / 2**20:.1f} MiB"
    )


@click.group()
def main() -> None:
    """Measure one of these."""


main.add_command(export_cost, "export")
main.add_command(large_image, "large-image")


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.resources")
