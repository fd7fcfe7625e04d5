"""The command `segdeploy adopt`."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click
from rich.table import Table

from segdeploy.card import Fit
from segdeploy.cli.console import add_row, echo, next_step, note, show
from segdeploy.cli.options import (
    Command,
    ImageSize,
    json_option,
    option,
    options,
    plugin_option,
    same_plugins,
    section,
)
from segdeploy.errors import ConfigError

from ..command import DEFAULT_PROOF_IMAGES, VERIFY_OPTION, describe
from ..plan import import_optional

if TYPE_CHECKING:
    from .answers import Kind
    from .config import AdoptConfig, Adoption

RGB = tuple[float, float, float]


# Up to click 8.3 the class takes no type.
class Triple(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Three numbers for red, green and blue, as in "0.5,0.5,0.5", or one for all."""

    name = "R,G,B"

    def __init__(self, *, positive: bool = False) -> None:
        """Set what is accepted.

        Args:
            positive: Whether each must be more than 0.
        """
        self._positive = positive

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> RGB:
        """Return the numbers of a text; a value that is already a tuple passes."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = [float(part) for part in str(value).split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in {1, 3}:
            self.fail(
                f"{value!r} is neither three numbers, for example 0.485,0.456,0.406, nor one for"
                " all",
                param,
                ctx,
            )
        if not all(isfinite(number) and (number > 0 or not self._positive) for number in numbers):
            kind = "a number above 0" if self._positive else "finite"
            self.fail(f"{value!r} is not {kind} everywhere", param, ctx)
        return numbers[0], numbers[len(numbers) // 2], numbers[-1]


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """Options of `segdeploy adopt`; see `AdoptConfig` for those that it names too.

    Attributes:
        file: What is adopted.
        value_range: "1" or "255": the value of white to mean and deviation; None where not given.
        as_json: Whether the result is printed as JSON.
    """

    file: Path
    classes: str
    background: str | None
    answers: 'Kind | Literal["auto"]'
    threshold: float | None
    output_name: str | None
    architecture: str | None
    code: str | None
    arguments: Sequence[str]
    mean: RGB | None
    std: RGB | None
    value_range: str | None
    bgr: bool | None
    imgsz: tuple[int, int] | None
    dynamic: bool
    stride: int | None
    fit: Fit | None
    dataset: str | None
    data: Path | None
    files: Sequence[Path]
    proof_images: int
    output_file: Path | None
    as_json: bool

    def config(self) -> "AdoptConfig":
        """Return the options of the adoption itself."""
        from .config import AdoptConfig
        from .convention import Told

        return AdoptConfig(
            classes=self.classes,
            background=self.background,
            answers=self.answers,
            threshold=self.threshold,
            output_name=self.output_name,
            architecture=self.architecture,
            code=self.code,
            arguments=dict(parse_argument(text) for text in self.arguments),
            told=Told(
                mean=self.mean,
                std=self.std,
                white=None if self.value_range is None else float(self.value_range),
                bgr=self.bgr,
            ),
            imgsz=self.imgsz,
            dynamic=self.dynamic,
            stride=self.stride,
            fit=self.fit,
            dataset=self.dataset,
            data=self.data,
            files=tuple(self.files),
            proof_images=self.proof_images,
            output_file=self.output_file,
        )


@click.command(cls=Command)
@click.argument("file", metavar="PATH", type=click.Path(path_type=Path))
@section(
    "Classes",
    option(
        "--classes",
        default="auto",
        metavar="NAME|FILE|auto",
        help="Classes in the order of the channels: ade20k, camvid, carvana, cityscapes, idd_lite,"
        " voc, a classes.toml, a text file of names, names with commas between them, or auto for"
        " what FILE says.",
    ),
    option(
        "--background",
        metavar="NAME",
        help="Name of a background that has no channel; it wins where no class reaches the"
        " threshold.",
    ),
    option(
        "--answers",
        default="auto",
        type=click.Choice(["auto", "logits", "probabilities", "classes", "sigmoid"]),
        help="What the network returns; auto looks at it.",
    ),
    option(
        "--threshold",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Probability from which on a pixel is no background, where that has no channel.",
        show_default="0.5",
    ),
    option(
        "--output-name", metavar="NAME", help="Which of several outputs of an ONNX file is used."
    ),
)
@section(
    "Network",
    option(
        "--model",
        "architecture",
        help="Network of the weights, where FILE is not an ONNX file; a plugin may register it.",
    ),
    option(
        "--code",
        metavar="FILE.py:CLASS",
        help="Class of the network in code of your own, which is executed; in place of --model.",
    ),
    option(
        "--argument",
        "arguments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Argument of that network, for example width=16; may be given more than once.",
    ),
)
@section(
    "Input",
    option(
        "--imgsz", type=ImageSize(), help="Size of the network's input.", show_default="the file's"
    ),
    option(
        "--mean",
        type=Triple(),
        help="Mean that was subtracted from red, green, blue.",
        show_default="found by labels, or guessed",
    ),
    option(
        "--std",
        type=Triple(positive=True),
        help="Standard deviation that they were divided by.",
        show_default="found by labels, or guessed",
    ),
    option(
        "--range",
        "value_range",
        type=click.Choice(["1", "255"]),
        help="Value of white that mean and deviation refer to.",
        show_default="1",
    ),
    option(
        "--bgr/--rgb",
        "bgr",
        default=None,
        help="Order of the channels that the network takes; --mean and --std are always in RGB.",
        show_default="found by labels, or rgb",
    ),
    option(
        "--fit",
        type=click.Choice(get_args(Fit)),
        help="How images are fitted to the input's size.",
        show_default="the file's, or stretch",
    ),
    option(
        "--stride",
        type=click.IntRange(min=1),
        help="Number of which height and width are multiples.",
        show_default="the file's, or 1",
    ),
    option(
        "--dynamic",
        is_flag=True,
        help="Let the file accept any multiple of the stride; it is proven at three sizes.",
    ),
)
@section(
    "Proof",
    option(
        "--dataset",
        help="Dataset whose labels tell how the network wants its images, and whose validation"
        " split the file is proven on.",
        show_default="streets, for the proof alone",
    ),
    option("--data", type=click.Path(path_type=Path), help="Folder of the dataset."),
    VERIFY_OPTION,
    option(
        "--proof-images",
        older=("--proof-pictures",),
        default=DEFAULT_PROOF_IMAGES,
        type=click.IntRange(min=1),
        help="Largest number of images of the proof.",
    ),
)
@section(
    "Output",
    option(
        "-o",
        "--output-file",
        type=click.Path(path_type=Path),
        help="Name of the new file.",
        show_default="FILE-adopted",
    ),
    json_option("the result"),
)
@plugin_option
@options(AdoptOptions)
def adopt(options: AdoptOptions) -> None:
    """Adopt the network of another project at PATH: it gets a card, and is run and measured here.

    An ONNX file becomes one that takes uint8 images. Weights of PyTorch, and folders that
    save_pretrained of transformers or segmentation-models-pytorch wrote, become a checkpoint.
    """
    adoption = import_optional("adopt.adoption").adopt_path(options.file, options.config())
    if options.as_json:
        echo(json.dumps(adoption.to_dict(), indent=2))
    else:
        print_adoption(adoption)
    for warning in adoption.warnings:
        note(f"warning: {warning}")
    if adoption.artifact is None:
        next_step("segdeploy", "export", adoption.path, *same_plugins())
    else:
        next_step("segdeploy", "run", "--model", adoption.path, "IMAGE")


def print_adoption(adoption: "Adoption") -> None:
    """Print what was adopted, how it wants its images, and the proof."""
    finding = adoption.finding
    if finding.table:
        table = Table("convention", box=None)
        table.add_column(finding.measure, justify="right")
        for convention, value in finding.table:
            text = f"{value:.1%}" if finding.measure == "mIoU" else f"{value:.2f}"
            add_row(table, convention.title, text)
        show(table)
    echo(describe(adoption.artifact) if adoption.artifact is not None else adoption.path)
    names = [entry.name for entry in adoption.card.classes]
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))
    echo(f"  input: {finding.sentence}")
    echo(f"  output: {adoption.card.output} of {len(names)} classes: {shown}")


SHOWN = 12
"""Number of classes that are printed."""


def parse_argument(text: str) -> tuple[str, Any]:
    """Return the key and the value of an argument; the value as in TOML, or else a plain word.

    Raises:
        ConfigError: It is not KEY=VALUE.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        msg = f"{text!r} is not KEY=VALUE; write for example --argument width=16"
        raise ConfigError(msg)
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
