"""The command `segdeploy export`, and how it prints results."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
from rich.table import Table

from segdeploy.card import Output
from segdeploy.cli.console import add_row, echo, next_step, note, show
from segdeploy.cli.options import (
    Command,
    ImageSize,
    json_option,
    option,
    options,
    plugin_option,
    section,
)
from segdeploy.errors import ConfigError, QuantizationError
from segdeploy.metrics.scores import Parity
from segdeploy.system.runs import newest_checkpoint

from .plan import (
    FORMATS,
    MIN_CALIBRATION_IMAGES,
    OPSET,
    PRECISIONS,
    ExportConfig,
    choose_formats,
    import_optional,
)

if TYPE_CHECKING:
    from .int8_candidates import Int8Candidate
    from .writer import Artifact, ExportResult

DEFAULT_PROOF_IMAGES = 20
"""Images of a proof that has no mIoU budget; int8 is proven on all."""

VERIFY_OPTION = option(
    "--verify",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Image, or folder of images, to prove the file on instead; may be given more than once.",
)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of `segdeploy export`; see `ExportConfig` for those that it names too.

    Attributes:
        checkpoint: The checkpoint; None for the best one of the newest run.
        formats: Names of formats, with commas.
        output_file: Name of the file; None for one beside the checkpoint.
        as_json: Whether the results are printed as JSON.
    """

    checkpoint: Path | None
    formats: str
    precision: str
    output: Output
    confidence: bool
    imgsz: tuple[int, int] | None
    dynamic: bool
    opset: int
    dataset: str | None
    data: Path | None
    files: Sequence[Path]
    proof_images: int | None
    max_miou_drop: float
    calibration_images: int
    calibrate: Sequence[Path]
    serve_on: str
    card_file: bool
    webgpu: bool
    output_file: Path | None
    as_json: bool

    def check(self) -> None:
        """Raise a ConfigError where two options do not fit each other."""
        if self.confidence and self.output != "classes":
            msg = (
                f"--confidence needs --output classes, and the output is {self.output}; add"
                " --output classes, or leave --confidence out"
            )
            raise ConfigError(msg)
        if self.webgpu and "web" not in map(str.strip, self.formats.split(",")):
            msg = f"--webgpu is for pages, and the format is {self.formats}; add --format web"
            raise ConfigError(msg)

    def config(self) -> ExportConfig:
        """Return the options of the export itself."""
        usual_images = None if self.precision == "int8" else DEFAULT_PROOF_IMAGES
        return ExportConfig(
            precision=self.precision,
            output=self.output,
            confidence=self.confidence,
            imgsz=self.imgsz,
            dynamic=self.dynamic,
            opset=self.opset,
            dataset=self.dataset,
            data=self.data,
            files=tuple(self.files),
            proof_images=self.proof_images or usual_images,
            max_miou_drop=self.max_miou_drop / 100,
            calibration_images=self.calibration_images,
            serve_on=self.serve_on,
            calibrate=tuple(self.calibrate),
            card_file=self.card_file,
            webgpu=self.webgpu,
        )


@click.command(cls=Command)
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@section(
    "File",
    option(
        "--format",
        "formats",
        default="onnx",
        help=f"Format of the file: {', '.join(FORMATS)}; or several with commas.",
    ),
    option(
        "--precision",
        default="fp32",
        type=click.Choice(PRECISIONS),
        help="Precision that the file computes in.",
    ),
    option(
        "--output",
        default="logits",
        type=click.Choice(get_args(Output)),
        help="What the file returns: logits at the network's stride; classes or probabilities at"
        " the input's size.",
    ),
    option(
        "--confidence",
        is_flag=True,
        help="With --output classes, also return the probability of each pixel's class, 0 to 255.",
    ),
    option(
        "--imgsz",
        type=ImageSize(),
        help="Size of the network's input.",
        show_default="the checkpoint's",
    ),
    option(
        "--dynamic",
        is_flag=True,
        help="Let the file accept any height and width; it is proven at three sizes.",
    ),
    option("--opset", default=OPSET, type=click.IntRange(18, 23), help="ONNX opset."),
    option(
        "--serve-on",
        default="auto",
        type=click.Choice(["auto", "cpu", "cuda"]),
        help="Device of the Triton server.",
    ),
    option(
        "--webgpu",
        is_flag=True,
        help="With --format web, also add the runtime for WebGPU, 27 MB.",
    ),
)
@section(
    "Proof",
    option(
        "--dataset",
        help="Dataset whose validation split the file is proven on.",
        show_default="the training's; streets for a network of unknown training",
    ),
    option(
        "--data",
        type=click.Path(path_type=Path),
        help="Folder of the dataset.",
        show_default="the training's",
    ),
    VERIFY_OPTION,
    option(
        "--proof-images",
        older=("--proof-pictures",),
        type=click.IntRange(min=1),
        help="Largest number of images of the proof.",
        show_default=f"{DEFAULT_PROOF_IMAGES}; all for int8",
    ),
)
@section(
    "Quantization",
    option(
        "--max-miou-drop",
        default=0.5,
        type=click.FloatRange(0, 100),
        help="Points of mIoU that int8 may lose.",
    ),
    option(
        "--calibration-images",
        older=("--calibration-pictures",),
        default=MIN_CALIBRATION_IMAGES,
        type=click.IntRange(min=MIN_CALIBRATION_IMAGES),
        help="Images of the training split that int8 is calibrated on.",
    ),
    option(
        "--calibrate",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Image without a mask, or folder of them, to calibrate int8 on instead; may be given"
        " more than once. Without --dataset and --verify it is proven on them too.",
    ),
)
@section(
    "Output",
    option(
        "-o",
        "--output-file",
        type=click.Path(path_type=Path),
        help="Name of the file.",
        show_default="beside the checkpoint",
    ),
    option(
        "--card-file",
        is_flag=True,
        help="Also write the card beside each file, as FILE.json, for languages that cannot read"
        " metadata.",
    ),
    json_option("the results"),
)
@plugin_option
@options(ExportOptions)
def export(options: ExportOptions) -> None:
    """Convert a CHECKPOINT to a file for another runtime, and prove it.

    Without CHECKPOINT, the best one of the newest training run is taken. The file gets its name
    only after its output on real images agrees with PyTorch's; otherwise no file is left and the
    exit code is 6.
    """
    options.check()
    checkpoint = options.checkpoint or newest_checkpoint()
    if options.checkpoint is None:
        note(f"exporting {checkpoint}, the best of the newest run")
    targets = name_targets(
        checkpoint,
        formats=choose_formats(options.formats, options.precision),
        suffix=name_suffix(options.precision, options.output),
        output_file=options.output_file,
    )
    results: list[ExportResult] = []
    exporter = import_optional("exporter")
    try:
        for result in exporter.export_checkpoint(checkpoint, targets, options.config()):
            results.append(result)
            if not options.as_json:
                print_result(result)
    except QuantizationError as error:
        print_candidates(error.candidates, stderr=True)
        raise
    finally:
        # Files that are proven are reported even if a later format fails.
        if options.as_json and results:
            echo(json.dumps([result.to_dict() for result in results], indent=2))
    first = results[0].artifact.path
    if first.suffix == FORMATS["web"].ending:
        next_step("python3", "-m", "http.server", "--directory", first)
    elif first.is_dir():
        next_step("tritonserver", f"--model-repository={first}")
    else:
        next_step("segdeploy", "run", "--model", first, "IMAGE")


def name_suffix(precision: str, output: Output) -> str:
    """Return what is added to a checkpoint's name, so that kinds of files differ in theirs."""
    return "".join(
        f"-{word}" for word, usual in ((precision, "fp32"), (output, "logits")) if word != usual
    )


def name_targets(
    checkpoint: Path, *, formats: Sequence[str], suffix: str, output_file: Path | None
) -> dict[str, Path]:
    """Return the path of the file of each format, by the format's name.

    Raises:
        ConfigError: One name was given for several files, or it does not end as the format's files
            do.
    """
    if output_file is None:
        return {
            name: checkpoint.with_name(f"{checkpoint.stem}{suffix}{FORMATS[name].ending}")
            for name in formats
        }
    ending = FORMATS[formats[0]].ending
    if len(formats) > 1 or not output_file.name.endswith(ending):
        msg = (
            f"--output-file {output_file} must be the name of one file that ends with {ending};"
            " name one format, or leave it out"
        )
        raise ConfigError(msg)
    return {formats[0]: output_file}


def print_result(result: "ExportResult") -> None:
    """Print the candidates that a file was chosen from, and how it was proven."""
    if result.candidates:
        print_candidates(result.candidates)
    echo(describe(result.artifact))
    if result.chosen is not None and result.chosen.speed < 1:
        echo(
            f"  int8 is slower than fp32 on this machine: {result.chosen.latency:.1f} ms against"
            f" {result.chosen.float_latency:.1f} ms"
        )


def print_candidates(candidates: Sequence["Int8Candidate"], *, stderr: bool = False) -> None:
    """Print a table of int8 candidates; to stderr where it explains an error."""
    table = Table("candidate", box=None)
    for title in ("mIoU", "lost", "labels", "ms", "fp32's", "speed", "MB", ""):
        table.add_column(title, justify="right")
    for candidate in candidates:
        add_row(
            table,
            candidate.name,
            *_format_scores(candidate.parity),
            f"{candidate.latency:.1f}",
            f"{candidate.float_latency:.1f}",
            f"{candidate.speed:.2f}x",
            f"{candidate.size / 1e6:.1f}",
            "passes" if candidate.parity.passed else "fails",
        )
    show(table, err=stderr)


def _format_scores(parity: Parity) -> tuple[str, str, str]:
    """Return mIoU, points of mIoU lost, and share of equal labels; "" without masks."""
    equal = f"{parity.agreement:.2%}"
    if parity.miou is None or parity.reference_miou is None:
        return "", "", equal
    return f"{parity.miou:.2%}", f"{100 * (parity.reference_miou - parity.miou):.2f}", equal


def describe(artifact: "Artifact") -> str:
    """Return the lines about a file and its proof."""
    card, parity = artifact.card, artifact.parity
    gate = f"{parity.gate:.1%}"
    if parity.max_miou_drop is not None and parity.miou is not None:
        gate = f"{100 * parity.max_miou_drop:g} points of mIoU"
    lines = [
        f"{artifact.path}  {artifact.size / 1e6:.1f} MB",
        (
            f"  labels equal to {parity.against}'s: {parity.agreement:.4%}, near boundaries"
            f" {parity.boundary_agreement:.4%} (gate {gate})"
        ),
        f"  images: {parity.images} of {parity.source}, on {artifact.device}",
    ]
    if computed_in_float32(card.precision, artifact.device):
        lines.append(
            f"  this device computes {card.precision} files in float32: the proof does not cover"
            f" the rounding of {card.precision}; run 'segdeploy verify' where the file will run"
        )
    by_class = zip(parity.class_agreement, card.classes, strict=True)
    share, name = min((share, label.name) for share, label in by_class if share is not None)
    lines.append(f"  lowest of a class: {share:.4%}, {name}")
    if parity.largest_difference is not None:
        value = "a logit" if card.output == "logits" else "a probability"
        lines.append(f"  largest difference of {value}: {parity.largest_difference:.2g}")
    if parity.miou is not None and parity.reference_miou is not None:
        lines.append(f"  mIoU {parity.miou:.2%}, {parity.against}'s {parity.reference_miou:.2%}")
    if artifact.untrusted:
        lines.append(f"  runs with --trust only, since it holds {artifact.untrusted}")
    if artifact.worst:
        lines.append(f"  images with different labels: {artifact.worst[0].parent}")
    return "\n".join(lines)


def computed_in_float32(precision: str, device: str) -> bool:
    """Return whether a device computes a file of half precision in float32.

    Args:
        precision: The file's.
        device: Runtime and device, as the backend reports it. OpenVINO names the precision that it
            computes in; ONNX Runtime has no half precision on a CPU and converts.
    """
    return precision in {"fp16", "bf16"} and device.endswith((" f32", " CPUExecutionProvider"))
