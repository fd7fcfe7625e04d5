"""The command `segdeploy adopt`."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, get_args

import click

from segdeploy.card import IMAGENET_MEAN, IMAGENET_STD, Fit, InputSpec, ModelCard
from segdeploy.cli.console import echo, next_step, progress
from segdeploy.cli.options import (
    Command,
    ImageSize,
    json_option,
    option,
    options,
    plugin_option,
    section,
)
from segdeploy.datasets.class_map import read_class_map
from segdeploy.errors import ConfigError
from segdeploy.system.files import new_run

from ..command import DEFAULT_PROOF_IMAGES, describe
from ..plan import import_optional

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
    """Options of `segdeploy adopt`.

    Attributes:
        file: An ONNX file, or weights of PyTorch.
        class_map: classes.toml, in the order of the channels.
        mean: Mean that was subtracted from red, green, blue.
        std: Deviation that they were divided by.
        value_range: "1" or "255": the value of white to mean and std.
        bgr: Whether the network takes BGR.
        imgsz: Height and width of the input; None for the file's.
        dynamic: Whether the new file accepts any multiple of the stride.
        stride: Number of which height and width are multiples.
        fit: How images are fitted to the input.
        architecture: Network of the weights; None for an ONNX file.
        arguments: Arguments of that network, each KEY=VALUE.
        dataset: Dataset of the proof; None for synthetic streets.
        data: Folder of the dataset.
        files: Images, or folders of them, to use for the proof instead of a dataset.
        proof_images: Largest number of images of the proof.
        output_file: Name of the new file; None for one beside the old.
        as_json: Whether the result is printed as JSON.
    """

    file: Path
    class_map: Path
    mean: RGB
    std: RGB
    value_range: str
    bgr: bool
    imgsz: tuple[int, int] | None
    dynamic: bool
    stride: int
    fit: Fit
    architecture: str | None
    arguments: Sequence[str]
    dataset: str | None
    data: Path | None
    files: Sequence[Path]
    proof_images: int
    output_file: Path | None
    as_json: bool

    def card(
        self, height: int, width: int, *, architecture: str, arguments: Mapping[str, Any]
    ) -> ModelCard:
        """Return the card of the new file, with mean and deviation in [0, 1]."""
        white = float(self.value_range)
        (red, green, blue), (red_std, green_std, blue_std) = (
            [value / white for value in values] for values in (self.mean, self.std)
        )
        return ModelCard(
            architecture=architecture,
            arguments=arguments,
            classes=read_class_map(self.class_map).classes,
            input=InputSpec(
                height=height,
                width=width,
                mean=(red, green, blue),
                std=(red_std, green_std, blue_std),
                fit=self.fit,
                stride=self.stride,
                dynamic=self.dynamic,
            ),
        )

    def target(self, ending: str) -> Path:
        """Return the name of the new file.

        Raises:
            ConfigError: `--output-file` has another ending.
        """
        path = self.output_file or self.file.with_name(f"{self.file.stem}-adopted{ending}")
        if path.suffix != ending:
            msg = f"--output-file is {path}; the adopted file must end with {ending}"
            raise ConfigError(msg)
        return path


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@section(
    "Network",
    option(
        "--classes",
        "class_map",
        required=True,
        type=click.Path(path_type=Path),
        help="classes.toml, with the classes in the order of the channels.",
    ),
    option(
        "--model",
        "architecture",
        help="Network of the weights, where FILE is not an ONNX file; a plugin may register it.",
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
        default=IMAGENET_MEAN,
        show_default="ImageNet's",
        help="Mean that was subtracted from red, green, blue.",
    ),
    option(
        "--std",
        type=Triple(positive=True),
        default=IMAGENET_STD,
        show_default="ImageNet's",
        help="Standard deviation that they were divided by.",
    ),
    option(
        "--range",
        "value_range",
        type=click.Choice(["1", "255"]),
        default="1",
        help="Value of white that mean and deviation refer to.",
    ),
    option(
        "--bgr",
        is_flag=True,
        help="The network takes BGR; --mean and --std are still given in RGB.",
    ),
    option(
        "--fit",
        type=click.Choice(get_args(Fit)),
        default="stretch",
        help="How images are fitted to the input's size.",
    ),
    option(
        "--stride",
        default=1,
        type=click.IntRange(min=1),
        help="Number of which height and width are multiples.",
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
        help="Dataset whose validation split the file is proven on.",
        show_default="streets",
    ),
    option("--data", type=click.Path(path_type=Path), help="Folder of the dataset."),
    option(
        "--verify",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Image, or folder of images, to prove the file on instead; may be given more than"
        " once.",
    ),
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
    """Adopt a FILE of another project: with a card, it is run, scored and measured like any other.

    An ONNX file that takes float images (N, 3, H, W) and returns logits or classes becomes one that
    takes uint8 images. PyTorch weights (a state_dict) become a checkpoint of the network --model.
    """
    if options.file.suffix.lower() == ".onnx":
        _adopt_onnx(options)
    else:
        _adopt_state_dict(options)


def _adopt_onnx(options: AdoptOptions) -> None:
    _refuse(
        options.file,
        {"--model": options.architecture, "--argument": options.arguments},
        "PyTorch weights; an ONNX file is a whole network",
    )
    target = options.target(".onnx")
    adopt_onnx = import_optional("adopt.onnx_source")
    proof, writer = import_optional("proof"), import_optional("writer")
    external = import_optional("adopt.onnx_graph").read_external(options.file)
    height, width = adopt_onnx.choose_size(
        external, imgsz=options.imgsz, stride=options.stride, dynamic=options.dynamic
    )
    card = options.card(height, width, architecture=options.file.stem, arguments={})
    images = proof.open_proof_images(
        card,
        dataset=options.dataset,
        data=options.data,
        files=options.files,
        most=options.proof_images,
    )
    with progress(f"adopting {target.name}", proof.count_comparisons(card, len(images))) as step:
        settings = writer.ProofSettings(
            images=images, new_report=partial(new_run, "adopt", target.name), on_step=step
        )
        artifact = adopt_onnx.adopt(external, card, target, bgr=options.bgr, settings=settings)
    echo(json.dumps(artifact.to_dict(), indent=2) if options.as_json else describe(artifact))
    next_step("segdeploy", "run", "--model", target, "--image", "IMAGE")


def _adopt_state_dict(options: AdoptOptions) -> None:
    _refuse(
        options.file,
        {
            "--bgr": options.bgr,
            "--dynamic": options.dynamic,
            "--dataset": options.dataset,
            "--data": options.data,
            "--verify": options.files,
        },
        "ONNX files; a network of weights takes RGB of one size, and is proven when it is exported",
    )
    target = options.target(".pt")
    if options.architecture is None or options.imgsz is None:
        msg = (
            f"{options.file} is not an ONNX file; for PyTorch weights name the network and its size"
            " with --model and --imgsz"
        )
        raise ConfigError(msg)
    card = options.card(
        *options.imgsz,
        architecture=options.architecture,
        arguments=dict(parse_argument(text) for text in options.arguments),
    )
    import_optional("adopt.state_dict").adopt_weights(options.file, card, target)
    echo(json.dumps({"path": str(target)}) if options.as_json else target)
    next_step("segdeploy", "export", target)


def _refuse(file: Path, given: Mapping[str, object], reason: str) -> None:
    """Raise a ConfigError for options that would have no effect."""
    useless = [name for name, value in given.items() if value]
    if useless:
        verb = "they are" if len(useless) > 1 else "it is"
        msg = f"{' and '.join(useless)} cannot be used with {file}: {verb} for {reason}"
        raise ConfigError(msg)


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
