"""How long an export takes and how much memory it holds, its proof included: `python -m segdeploy.benchmarks.export_cost`.

Timed is `segdeploy export` in a process of its own, from its start to its end, on random weights; not the making of the checkpoint.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from segdeploy import models
from segdeploy.commands.invoking import invoke
from segdeploy.commands.size import ImageSize
from segdeploy.machine import survey

from .settled import Candidate, settled
from .spent import spend


@click.command()
@click.option("--network", default="deeplabv3plus", show_default=True, type=click.Choice(models.names()), help="What is exported.")
@click.option("--imgsz", type=ImageSize(), default="512,1024", show_default=True, help="Height,width of its input.")
@click.option("--format", "formats", default="onnx", show_default=True, help="Format, or several with commas.")
@click.option("--pictures", default=20, show_default=True, type=click.IntRange(min=1), help="Of the proof.")
def main(network: str, imgsz: tuple[int, int], formats: str, pictures: int) -> None:
    """Export a network of random weights, and print the time and the most memory that was held at once."""
    with TemporaryDirectory(prefix="segdeploy-") as folder:
        checkpoint = settled(Candidate(network), Path(folder), imgsz)
        found = spend(["export", str(checkpoint), "--format", formats, "--dataset", "streets", "--proof-pictures", str(pictures)])
    asked = "{} at {}x{} to {}, proven on {} pictures".format(network, *imgsz, formats, pictures)
    click.echo(f"{asked}: {found.seconds:.0f} s, {found.memory / 2**30:.2f} GiB at most, on {survey().cores} cores")


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.export_cost")
