"""`export`, and what it prints."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
from rich.console import Console
from rich.table import Table

from segdeploy.card import Output
from segdeploy.cli.console import next_step, note
from segdeploy.cli.options import ImageSize, RenamedOption, plugin_option
from segdeploy.errors import ConfigError, MissingExtraError, SpoiledError
from segdeploy.metrics.agreement import Parity
from segdeploy.system.runs import newest_best

from .config import FORMATS, LEAST, OPSET, PRECISIONS, ExportConfig, choose_formats

if TYPE_CHECKING:
    from .exporter import ExportResult
    from .int8_candidates import Int8Candidate
    from .writer import Artifact


def show(made: "ExportResult") -> None:
    """Print what was written and how it was proven, after the candidates that it was chosen from."""
    if made.candidates:
        show_trials(made.candidates)
    click.echo(in_words(made.artifact))
    if made.chosen is not None and made.chosen.speed < 1:
        click.echo(
            f"  int8 is slower than fp32 on this machine: {made.chosen.latency:.1f} ms against"
            f" {made.chosen.float_latency:.1f} ms"
        )


def show_trials(candidates: Sequence["Int8Candidate"], *, stderr: bool = False) -> None:
    """Print a table of candidates in 8 bits.

    To stderr where it is no result, but why there is none.
    """
    table = Table("candidate", box=None)
    for title in ("mIoU", "lost", "labels", "ms", "fp32's", "speed", "MB", ""):
        table.add_column(title, justify="right")
    for candidate in candidates:
        times = (
            f"{candidate.latency:.1f}",
            f"{candidate.float_latency:.1f}",
            f"{candidate.speed:.2f}x",
            f"{candidate.size / 1e6:.1f}",
        )
        table.add_row(
            candidate.name,
            *_scores(candidate.parity),
            *times,
            "passes" if candidate.parity.passed else "fails",
        )
    Console(stderr=stderr).print(table)


def _scores(parity: Parity) -> tuple[str, str, str]:
    """Return mIoU, the points of it that are lost, and the share of equal labels.

    The first two only where there is truth.
    """
    equal = f"{parity.agreement:.2%}"
    if parity.miou is None or parity.reference_miou is None:
        return "", "", equal
    return f"{parity.miou:.2%}", f"{100 * (parity.reference_miou - parity.miou):.2f}", equal


def computed_wider(precision: str, device: str) -> bool:
    """Return whether what answered computes a file of half precision in float32.

    Args:
        precision: The file's.
        device: What answered, as it was granted. OpenVINO tells the kind of its numbers; ONNX
            Runtime has no half precision on a processor and converts to and fro.
    """
    return precision in {"fp16", "bf16"} and device.endswith((" f32", " CPUExecutionProvider"))


def in_words(artifact: "Artifact") -> str:
    """Return what was written and how it was proven."""
    parity = artifact.parity
    budget = f"{parity.gate:.1%}"
    if parity.max_miou_drop is not None and parity.miou is not None:
        budget = f"{100 * parity.max_miou_drop:g} points of mIoU"
    lines = [
        f"{artifact.path}  {artifact.size / 1e6:.1f} MB",
        (
            f"  labels equal to {parity.against}'s: {parity.agreement:.4%}, near boundaries"
            f" {parity.boundary_agreement:.4%} (gate {budget})"
        ),
        f"  images: {parity.images} of {parity.source}, on {artifact.device}",
    ]
    if computed_wider(artifact.card.precision, artifact.device):
        asked = artifact.card.precision
        told = (
            f"this device computes {asked} files in float32, so that the rounding of {asked} is not"
            " in the proof"
        )
        lines.append(f"  {told}; run 'segdeploy verify' where the file will run")
    found = [
        (share, label.name)
        for share, label in zip(parity.class_agreement, artifact.card.classes, strict=True)
        if share is not None
    ]
    share, name = min(found)
    lines.append(f"  lowest of a class: {share:.4%}, {name}")
    if parity.largest_difference is not None:
        lines.append(
            "  largest difference of"
            f" {'a logit' if artifact.card.output == 'logits' else 'a probability'}:"
            f" {parity.largest_difference:.2g}"
        )
    if parity.miou is not None and parity.reference_miou is not None:
        lines.append(f"  mIoU {parity.miou:.2%}, {parity.against}'s {parity.reference_miou:.2%}")
    if artifact.worst:
        lines.append(f"  where they differ: {artifact.worst[0].parent}")
    return "\n".join(lines)


@click.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "formats",
    default="onnx",
    show_default=True,
    help=f"What to write: {', '.join(FORMATS)}, or several with commas.",
)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    type=click.Choice(PRECISIONS),
    help="Kind of numbers that the file computes with.",
)
@click.option(
    "--output",
    "answer",
    default="logits",
    show_default=True,
    type=click.Choice(get_args(Output)),
    help=(
        "What the file answers: logits at the network's stride, or classes or probabilities at its"
        " input's size."
    ),
)
@click.option(
    "--confidence",
    is_flag=True,
    help="With classes, also the probability of each pixel's class, 0 to 255.",
)
@click.option(
    "--imgsz", type=ImageSize(), help="Size of the network's input.  [default: the checkpoint's]"
)
@click.option(
    "--dynamic",
    is_flag=True,
    help="Let the file answer any height and width; it is proven at three sizes.",
)
@click.option(
    "--opset",
    default=OPSET,
    show_default=True,
    type=click.IntRange(18, 23),
    help="Version of ONNX's operators.",
)
@click.option(
    "--dataset",
    help=(
        "Prove on the validation split of this dataset.  [default: the one of the training, else"
        " streets]"
    ),
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the dataset.  [default: the one of the training]",
)
@click.option(
    "--verify",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Prove on these images, or folders of them, instead.",
)
@click.option(
    "--proof-images",
    cls=RenamedOption,
    older=("--proof-pictures",),
    type=click.IntRange(min=1),
    help="On how many images at most.  [default: 20; int8 all]",
)
@click.option(
    "--max-miou-drop",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 100),
    help="Points of mIoU that int8 may lose.",
)
@click.option(
    "--calibration-images",
    cls=RenamedOption,
    older=("--calibration-pictures",),
    default=LEAST,
    show_default=True,
    type=click.IntRange(min=LEAST),
    help="Of the training split, for int8.",
)
@click.option(
    "--serve-on",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "cpu", "cuda"]),
    help="Where a Triton server will run.",
)
@click.option(
    "-o",
    "--output-file",
    "output",
    type=click.Path(path_type=Path),
    help="Name of the file.  [default: beside the checkpoint]",
)
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
    proof_images: int | None,
    max_miou_drop: float,
    calibration_images: int,
    serve_on: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Turn a CHECKPOINT into a file for another runtime, and prove it.

    Without CHECKPOINT, the best one of the newest training run. The file gets its name only after
    it has answered images as PyTorch does; otherwise nothing is left and the exit code is 6.
    """
    if confidence and answer != "classes":
        msg = (
            f"--confidence stands beside classes; {answer} hold it already, so add --output classes"
            " or leave it out"
        )
        raise ConfigError(msg)
    path = checkpoint or newest_best()
    if checkpoint is None:
        note(f"exporting {path}, the best of the newest run")
    targets = name_targets(
        path,
        formats=choose_formats(formats, precision),
        suffix=name_suffix(precision, answer),
        output=output,
    )
    order = ExportConfig(
        precision=precision,
        answer=answer,
        confidence=confidence,
        imgsz=imgsz,
        dynamic=dynamic,
        opset=opset,
        dataset=dataset,
        data=data,
        files=tuple(files),
        proof_images=proof_images or (20 if precision != "int8" else None),
        max_miou_drop=max_miou_drop / 100,
        calibration_images=calibration_images,
        serve_on=serve_on,
    )
    try:
        from .exporter import export_all
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
        show_trials(error.candidates, stderr=True)
        raise
    finally:
        # What stands is told also where a later one fails.
        if as_json and made:
            click.echo(json.dumps([one.to_dict() for one in made], indent=2))
    first = made[0].artifact.path
    if first.is_dir():
        next_step("tritonserver", f"--model-repository={first}")
    else:
        next_step("segdeploy", "run", "--model", first, "--image", "IMAGE")


def name_suffix(precision: str, answer: Output) -> str:
    """Return what stands behind a checkpoint's name in the name of a file, so that files of several kinds lie beside each other."""
    return "".join(
        f"-{word}" for word, usual in ((precision, "fp32"), (answer, "logits")) if word != usual
    )


def name_targets(
    checkpoint: Path, *, formats: Sequence[str], suffix: str, output: Path | None
) -> dict[str, Path]:
    """Return each format that was asked for, and the name of its file.

    Raises:
        ConfigError: One name was given for several files, or it ends otherwise than the format's
            files do.
    """
    if output is None:
        return {
            name: checkpoint.with_name(f"{checkpoint.stem}{suffix}{FORMATS[name].ending}")
            for name in formats
        }
    if len(formats) > 1 or output.suffix != FORMATS[formats[0]].ending:
        ending = FORMATS[formats[0]].ending
        msg = (
            f"--output-file {output} must be the name of one file that ends with {ending}; name one"
            " format, or leave it out"
        )
        raise ConfigError(msg)
    return {formats[0]: output}
