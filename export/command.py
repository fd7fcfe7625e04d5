"""The command `segdeploy export`."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdeploy.card import ModelCard
from segdeploy.commands.size import ImageSize
from segdeploy.console import next_step, note, progress
from segdeploy.errors import ConfigError, MissingExtraError
from segdeploy.runs import newest_best

if TYPE_CHECKING:
    from .making import Artifact

FORMATS = ("onnx", "torchscript")
OPSET = 21
"""Newest opset that every ONNX Runtime from 1.20 on runs."""


@click.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option(
    "--format", "formats", default="onnx", show_default=True, help=f"What to write: {', '.join(FORMATS)}, or several with commas."
)
@click.option("--imgsz", type=ImageSize(), help="Size of the network's input.  [default: the checkpoint's]")
@click.option("--dynamic", is_flag=True, help="Let the file answer any height and width; it is proven at three sizes.")
@click.option("--opset", default=OPSET, show_default=True, type=click.IntRange(18, 23), help="Version of ONNX's operators.")
@click.option("--dataset", help="Prove on the validation split of this data set.  [default: the one of the training, else streets]")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set.  [default: the one of the training]")
@click.option(
    "--verify", "files", multiple=True, type=click.Path(path_type=Path), help="Prove on these pictures, or folders of them, instead."
)
@click.option("--proof-pictures", default=20, show_default=True, type=click.IntRange(min=1), help="On how many pictures at most.")
@click.option("-o", "--output-file", "output", type=click.Path(path_type=Path), help="Name of the file.  [default: beside the checkpoint]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def export(
    *,
    checkpoint: Path | None,
    formats: str,
    imgsz: tuple[int, int] | None,
    dynamic: bool,
    opset: int,
    dataset: str | None,
    data: Path | None,
    files: Sequence[Path],
    proof_pictures: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Turn a CHECKPOINT into a file for another runtime, and prove it.

    Without CHECKPOINT, the best one of the newest training run. The file gets its name only after it has answered
    pictures as PyTorch does; otherwise nothing is left and the exit code is 6.
    """
    path = checkpoint or newest_best()
    if checkpoint is None:
        note(f"exporting {path}, the best of the newest run")
    targets = name_targets(path, formats=formats, output=output)
    try:
        from segdeploy.checkpoint import load_checkpoint

        from .evidence import gather
        from .making import convert, make
        from .proof import questions
    except ModuleNotFoundError as error:
        if error.name not in {"torch", "onnx"}:
            raise
        raise MissingExtraError(error.name, "export") from error
    loaded = load_checkpoint(path)
    network = loaded.network()
    card = sized(loaded.card, imgsz, dynamic=dynamic)
    evidence = gather(card, dataset=dataset, data=data, files=files, most=proof_pictures)
    made = []
    for name, target in targets.items():
        candidate, kind = convert(name, network, card=card, opset=opset)
        with progress(f"proof of {target.name}", questions(card, len(evidence))) as step:
            made.append(make(target, candidate, kind=kind, network=network, card=card, evidence=evidence, on_step=step))
    click.echo(json.dumps([artifact.to_dict() for artifact in made], indent=2) if as_json else in_words(made))
    next_step(f"segdeploy run --model {made[0].path} --image PICTURE")


def name_targets(checkpoint: Path, *, formats: str, output: Path | None) -> dict[str, Path]:
    """Give each format that was asked for, and the name of its file.

    Raises:
        ConfigError: A format is unknown, or one name was given for several files.
    """
    asked = list(dict.fromkeys(name.strip() for name in formats.split(",")))
    unknown = [name for name in asked if name not in FORMATS]
    if unknown:
        msg = f"there is no format {unknown[0]!r}; choose of {', '.join(FORMATS)}"
        raise ConfigError(msg)
    if output is None:
        return {name: checkpoint.with_suffix(f".{name}") for name in asked}
    if len(asked) > 1 or output.suffix != f".{asked[0]}":
        msg = f"--output-file {output} must be the name of one file that ends with .{asked[0]}; name one format, or leave it out"
        raise ConfigError(msg)
    return {asked[0]: output}


def sized(card: ModelCard, size: tuple[int, int] | None, *, dynamic: bool) -> ModelCard:
    """Give the card of the file: of another size where one is asked for, at which the scores are not known."""
    height, width = size or (card.input.height, card.input.width)
    same = (height, width) == (card.input.height, card.input.width)
    spec = replace(card.input, height=height, width=width, dynamic=dynamic)
    return replace(card, input=spec, scores=card.scores if same else None)


def in_words(artifacts: Iterable["Artifact"]) -> str:
    """Tell what was written and how it was proven, a paragraph a file."""
    return "\n".join(_in_words(artifact) for artifact in artifacts)


def _in_words(artifact: "Artifact") -> str:
    parity = artifact.parity
    lines = [
        f"{artifact.path}  {artifact.size / 1e6:.1f} MB",
        f"  labels equal to PyTorch's: {parity.agreement:.4%}, near boundaries {parity.boundary_agreement:.4%} (gate {parity.gate:.1%})",
        f"  pictures: {parity.pictures} of {parity.source}",
        f"  largest difference of a logit: {parity.largest_difference:.2g}",
    ]
    if parity.miou is not None and parity.reference_miou is not None:
        lines.append(f"  mIoU {parity.miou:.2%}, PyTorch's {parity.reference_miou:.2%}")
    return "\n".join(lines)
