"""The command `segdeploy export`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click

from segdeploy.card import Output
from segdeploy.commands.plugin import plugin_option
from segdeploy.commands.size import ImageSize
from segdeploy.console import next_step, note
from segdeploy.errors import ConfigError, MissingExtraError, SpoiledError
from segdeploy.runs import newest_best

from .formats import FORMATS, PRECISIONS, choose_formats
from .order import LEAST, OPSET, Order
from .telling import show, show_trials


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
@click.option("--proof-pictures", type=click.IntRange(min=1), help="On how many pictures at most.  [default: 20; int8 all]")
@click.option("--max-miou-drop", default=0.5, show_default=True, type=click.FloatRange(0, 100), help="Points of mIoU that int8 may lose.")
@click.option(
    "--calibration-pictures", default=LEAST, show_default=True, type=click.IntRange(min=LEAST), help="Of the training split, for int8."
)
@click.option(
    "--serve-on", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]), help="Where a Triton server will run."
)
@click.option("-o", "--output-file", "output", type=click.Path(path_type=Path), help="Name of the file.  [default: beside the checkpoint]")
@plugin_option
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
    proof_pictures: int | None,
    max_miou_drop: float,
    calibration_pictures: int,
    serve_on: str,
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
    order = Order(
        precision=precision,
        answer=answer,
        confidence=confidence,
        imgsz=imgsz,
        dynamic=dynamic,
        opset=opset,
        dataset=dataset,
        data=data,
        files=tuple(files),
        proof_pictures=proof_pictures or (20 if precision != "int8" else None),
        max_miou_drop=max_miou_drop / 100,
        calibration_pictures=calibration_pictures,
        serve_on=serve_on,
    )
    try:
        from .exporting import export_all
    except ModuleNotFoundError as error:
        if error.name not in {"torch", "onnx"}:
            raise
        raise MissingExtraError(error.name, "export") from error
    made = []
    try:
        for one in export_all(path, targets, order):
            made.append(one)
            if not as_json:
                show(one)
    except SpoiledError as error:
        show_trials(error.trials, stderr=True)
        raise
    finally:
        # What stands is told also where a later one fails.
        if as_json and made:
            click.echo(json.dumps([one.to_dict() for one in made], indent=2))
    first = made[0].artifact.path
    if first.is_dir():
        next_step("tritonserver", f"--model-repository={first}")
    else:
        next_step("segdeploy", "run", "--model", first, "--image", "PICTURE")


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
