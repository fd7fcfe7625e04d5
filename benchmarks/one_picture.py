"""How much sooner a mask is there: `python -m segdeploy.benchmarks.one_picture CHECKPOINT`.

From uint8 pixels in memory to a uint8 mask of the same size, through an ONNX file in float32 and `Predictor`, and as PyTorch does it
best: the same weights on the same drawn street, by turns, each round in a process of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
import numpy as np

from segdeploy.checkpoint import load_checkpoint, save_checkpoint
from segdeploy.commands.invoking import invoke
from segdeploy.commands.size import ImageSize
from segdeploy.datasets.streets import Streets
from segdeploy.errors import SegdeployError
from segdeploy.machine import survey
from segdeploy.pictures import read_ids, write_picture

from .outside import Call, call
from .process import apart
from .rounds import in_turns

WAYS = ("torch", "onnx")
"""Names of `moments` that answer one picture."""


def prepare(checkpoint: Path, folder: Path, size: tuple[int, int], run: Call = call) -> Mapping[str, str]:
    """Make the same network for a size, as a checkpoint and as an ONNX file, and a picture; their paths are the order of a round."""
    found = load_checkpoint(checkpoint)
    height, width = size
    sized = replace(found, card=replace(found.card, input=replace(found.card.input, height=height, width=width)), state={})
    paths = {"checkpoint": folder / "sized.pt", "artifact": folder / "sized.onnx", "picture": folder / "street.png"}
    save_checkpoint(paths["checkpoint"], sized)
    run(["segdeploy.export.for_timing", str(paths["checkpoint"]), str(paths["artifact"]), "fp32"])
    write_picture(paths["picture"], Streets(split="val", count=1, height=height, width=width)[0].image)
    return {name: str(path) for name, path in paths.items()}


def compare(order: Mapping[str, str], *, rounds: int) -> tuple[Mapping[str, list[float]], int]:
    """Time both ways by turns, and count the labels in which their masks differ.

    Raises:
        SegdeployError: One of them failed.
    """
    spans: dict[str, list[float]] = {name: [] for name in WAYS}
    for name in in_turns(WAYS, rounds):
        found = apart("moments", {**order, "moment": name, "mask": str(Path(order["artifact"]).with_name(f"{name}.png"))})
        if isinstance(found, str):
            raise SegdeployError(found)
        spans[name].append(found["median"])
    theirs, ours = (read_ids(Path(order["artifact"]).with_name(f"{name}.png")) for name in WAYS)
    return spans, int(np.count_nonzero(ours != theirs))


def sentence(spans: Mapping[str, Sequence[float]], differing: int, size: tuple[int, int]) -> str:
    """Say what came out."""
    height, width = size
    ratio = median(theirs / ours for theirs, ours in zip(spans["torch"], spans["onnx"], strict=True))
    times = f"PyTorch {median(spans['torch']):.1f} ms, ONNX and Predictor {median(spans['onnx']):.1f} ms: {ratio:.2f} times as fast"
    return f"{height}x{width}: {times}; {differing} of {height * width} labels differ"


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--imgsz", type=ImageSize(), default="512,1024", show_default=True, help="Height,width of picture and network.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="Processes of each way.")
def main(checkpoint: Path, imgsz: tuple[int, int], rounds: int) -> None:
    """Time CHECKPOINT from a picture to its mask."""
    with TemporaryDirectory(prefix="segdeploy-") as folder:
        spans, differing = compare(prepare(checkpoint, Path(folder), imgsz), rounds=rounds)
    click.echo(f"{load_checkpoint(checkpoint).card.architecture}, {sentence(spans, differing, imgsz)} ({survey().processor})")


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.one_picture")
