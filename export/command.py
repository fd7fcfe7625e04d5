"""The command `segdeploy export`."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from segdeploy.card import ModelCard, Output
from segdeploy.commands.size import ImageSize
from segdeploy.console import next_step, note, progress
from segdeploy.errors import ConfigError, MissingExtraError
from segdeploy.runs import new_run, newest_best

from .formats import FORMATS, PRECISIONS, choose_formats

if TYPE_CHECKING:
    from .making import Artifact

OPSET = 21
"""Newest opset that every ONNX Runtime from 1.20 on runs."""


@click.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option(
    "--format", "formats", default="onnx", show_default=True, help=f"What to write: {', '.join(FORMATS)}, or several with commas."
)
@click.option(
    "--precision", default="fp32", show_default=True, type=click.Choice(PRECISIONS), help="Kind of numbers that the file computes with."
)
@click.option(
    "--output",
    "answer",
    default="logits",
    show_default=True,
    type=click.Choice(get_args(Output)),
    help="What the file answers: logits at the network's stride, or classes or probabilities at its input's size.",
)
@click.option("--confidence", is_flag=True, help="With classes, also the probability of each pixel's class, 0 to 255.")
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
    precision: str,
    answer: Output,
    confidence: bool,
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
    if confidence and answer != "classes":
        msg = f"--confidence stands beside classes; {answer} hold it already, so add --output classes or leave it out"
        raise ConfigError(msg)
    path = checkpoint or newest_best()
    if checkpoint is None:
        note(f"exporting {path}, the best of the newest run")
    targets = name_targets(path, formats=choose_formats(formats, precision), suffix=name_suffix(precision, answer), output=output)
    try:
        from segdeploy.checkpoint import load_checkpoint

        from .converting import convert
        from .evidence import gather
        from .heads import with_output
        from .making import Proving, make
        from .proof import questions
    except ModuleNotFoundError as error:
        if error.name not in {"torch", "onnx"}:
            raise
        raise MissingExtraError(error.name, "export") from error
    loaded = load_checkpoint(path)
    card = replace(sized(loaded.card, imgsz, dynamic=dynamic), output=answer, confidence=confidence, precision=precision)
    network = with_output(loaded.network(), card)
    evidence = gather(card, dataset=dataset, data=data, files=files, most=proof_pictures)
    made = []
    for name, target in targets.items():
        candidate, kind = convert(name, network, card=card, opset=opset)
        with progress(f"proof of {target.name}", questions(card, len(evidence))) as step:
            proving = Proving(evidence=evidence, report=partial(new_run, "export", target.name), on_step=step)
            made.append(make(target, candidate, kind=kind, network=network, card=card, proving=proving))
    click.echo(json.dumps([artifact.to_dict() for artifact in made], indent=2) if as_json else in_words(made))
    next_step(f"segdeploy run --model {made[0].path} --image PICTURE")


def name_suffix(precision: str, answer: Output) -> str:
    """Give what stands behind a checkpoint's name in the name of a file, so that files of several kinds lie beside each other."""
    return "".join(f"-{word}" for word, usual in ((precision, "fp32"), (answer, "logits")) if word != usual)


def name_targets(checkpoint: Path, *, formats: Sequence[str], suffix: str, output: Path | None) -> dict[str, Path]:
    """Give each format that was asked for, and the name of its file.

    Raises:
        ConfigError: One name was given for several files, or it ends otherwise than the format's files do.
    """
    if output is None:
        return {name: checkpoint.with_name(f"{checkpoint.stem}{suffix}{FORMATS[name].ending}") for name in formats}
    if len(formats) > 1 or output.suffix != FORMATS[formats[0]].ending:
        ending = FORMATS[formats[0]].ending
        msg = f"--output-file {output} must be the name of one file that ends with {ending}; name one format, or leave it out"
        raise ConfigError(msg)
    return {formats[0]: output}


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
    ]
    found = [(share, label.name) for share, label in zip(parity.class_agreement, artifact.card.classes, strict=True) if share is not None]
    share, name = min(found)
    lines.append(f"  lowest of a class: {share:.4%}, {name}")
    if parity.largest_difference is not None:
        lines.append(f"  largest difference of a logit: {parity.largest_difference:.2g}")
    if parity.miou is not None and parity.reference_miou is not None:
        lines.append(f"  mIoU {parity.miou:.2%}, PyTorch's {parity.reference_miou:.2%}")
    if artifact.worst:
        lines.append(f"  where they differ: {artifact.worst[0].parent}")
    return "\n".join(lines)
