"""The command `segdeploy adopt`."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, get_args

import click
from msgspec import structs

from segdeploy.card import Fit, InputSpec, LabelClass, ModelCard
from segdeploy.cli.console import next_step, progress
from segdeploy.cli.options import ImageSize, RenamedOption, plugin_option
from segdeploy.datasets.class_map import read_class_map
from segdeploy.errors import ConfigError, MissingExtraError, ModelError
from segdeploy.system.runs import new_run

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Triple(click.ParamType):  # type: ignore[type-arg,unused-ignore] # up to click 8.3 the class takes no type
    """Three numbers for red, green and blue, as in "0.5,0.5,0.5", or one for all."""

    name = "R,G,B"

    def __init__(self, *, positive: bool = False) -> None:
        """Say what is allowed.

        Args:
            positive: Whether each must be more than 0.
        """
        self._positive = positive

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """Read the text; a value that is already a triple passes."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = [float(part) for part in str(value).split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in {1, 3}:
            self.fail(
                f"{value!r} is neither three numbers, for example 0.485,0.456,0.406, nor one"
                " for all",
                param,
                ctx,
            )
        if not all(isfinite(number) and (number > 0 or not self._positive) for number in numbers):
            self.fail(
                f"{value!r} holds what is no number{' above 0' if self._positive else ''}",
                param,
                ctx,
            )
        return numbers[0], numbers[len(numbers) // 2], numbers[-1]


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--classes",
    "legend",
    required=True,
    type=click.Path(path_type=Path),
    help="classes.toml, in the order of the channels.",
)
@click.option(
    "--mean",
    type=Triple(),
    default=IMAGENET_MEAN,
    show_default="ImageNet's",
    help="What was subtracted from red, green, blue.",
)
@click.option(
    "--std",
    type=Triple(positive=True),
    default=IMAGENET_STD,
    show_default="ImageNet's",
    help="What they were divided by.",
)
@click.option(
    "--range",
    "full",
    type=click.Choice(["1", "255"]),
    default="1",
    show_default=True,
    help="Numbers of white to mean and std.",
)
@click.option(
    "--bgr",
    is_flag=True,
    help=(
        "The network takes blue-green-red; mean and std are given in red, green, blue all the same."
    ),
)
@click.option(
    "--imgsz", type=ImageSize(), help="Size of the network's input.  [default: the file's]"
)
@click.option(
    "--dynamic",
    is_flag=True,
    help="Let the file answer any multiple of the stride; it is proven at three sizes.",
)
@click.option(
    "--stride",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of which height and width are multiples.",
)
@click.option(
    "--fit",
    type=click.Choice(get_args(Fit)),
    default="stretch",
    show_default=True,
    help="How images get to that size.",
)
@click.option(
    "--model",
    "architecture",
    help="Network that the weights are for, where FILE is no ONNX file; a plugin may bring it.",
)
@click.option(
    "--argument",
    "arguments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Argument of that network, for example width=16.",
)
@click.option(
    "--dataset", help="Prove on the validation split of this dataset.  [default: streets]"
)
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option(
    "--verify",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Prove on these images, or folders, instead.",
)
@click.option(
    "--proof-images",
    cls=RenamedOption,
    older=("--proof-pictures",),
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="On how many images at most.",
)
@click.option(
    "-o",
    "--output-file",
    "output",
    type=click.Path(path_type=Path),
    help="Name of the new file.  [default: FILE-adopted]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@plugin_option
def adopt(
    *,
    file: Path,
    legend: Path,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    full: str,
    bgr: bool,
    imgsz: tuple[int, int] | None,
    dynamic: bool,
    stride: int,
    fit: Fit,
    architecture: str | None,
    arguments: Sequence[str],
    dataset: str | None,
    data: Path | None,
    files: Sequence[Path],
    proof_images: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Return a foreign FILE a card, so that it runs, is scored and measured here.

    An ONNX file that takes float images (N, 3, H, W) and gives logits or classes becomes one that
    takes images as they are. Weights of PyTorch (a state_dict) become a checkpoint of the network
    --model.
    """
    (red, green, blue), (red_std, green_std, blue_std) = (
        [value / float(full) for value in values] for values in (mean, std)
    )
    lowered = {"mean": (red, green, blue), "std": (red_std, green_std, blue_std)}
    spec = InputSpec(
        height=stride, width=stride, **lowered, fit=fit, stride=stride, dynamic=dynamic
    )
    if file.suffix.lower() != ".onnx":
        only = {
            "--bgr": bgr,
            "--dynamic": dynamic,
            "--dataset": dataset,
            "--data": data,
            "--verify": files,
        }
        _refuse(
            file,
            only,
            "ONNX files; weights take red-green-blue, of one size, and are proven when they are"
            " exported",
        )
        target = _target(output or file.with_name(f"{file.stem}-adopted.pt"), ".pt")
        adopt_weights(
            file,
            target,
            spec,
            read_class_map(legend).classes,
            imgsz=imgsz,
            architecture=architecture,
            arguments=arguments,
        )
        click.echo(json.dumps({"path": str(target)}) if as_json else target)
        next_step("segdeploy", "export", target)
        return
    _refuse(
        file,
        {"--model": architecture, "--argument": arguments},
        "weights of PyTorch; an ONNX file is a whole network",
    )
    target = _target(output or file.with_name(f"{file.stem}-adopted.onnx"), ".onnx")
    try:
        from .adopt import adopt as adopt_onnx
        from .adopt import read_foreign
        from .command import in_words
        from .proof import gather, questions
        from .writer import Proving
    except ModuleNotFoundError as error:
        if error.name not in {"torch", "onnx"}:
            raise
        raise MissingExtraError(error.name, "export") from error
    foreign = read_foreign(file)
    sides = choose_size(file, foreign.sides, imgsz=imgsz, stride=stride, dynamic=dynamic)
    card = ModelCard(
        architecture=file.stem,
        classes=read_class_map(legend).classes,
        input=structs.replace(spec, height=sides[0], width=sides[1]),
    )
    evidence = gather(card, dataset=dataset, data=data, files=files, most=proof_images)
    with progress(f"proof of {target.name}", questions(card, len(evidence))) as step:
        proving = Proving(
            evidence=evidence, report=partial(new_run, "adopt", target.name), on_step=step
        )
        made = adopt_onnx(foreign, card, target, bgr=bgr, proving=proving)
    click.echo(json.dumps(made.to_dict(), indent=2) if as_json else in_words(made))
    next_step("segdeploy", "run", "--model", target, "--image", "IMAGE")


def choose_size(
    file: Path,
    fixed: tuple[int, int] | None,
    *,
    imgsz: tuple[int, int] | None,
    stride: int,
    dynamic: bool,
) -> tuple[int, int]:
    """Return the height and the width at which a foreign file is asked, in pixels.

    Args:
        file: Its name, for the message.
        fixed: The only size that it takes; None where it takes any.
        imgsz: What was asked for.
        stride: Number of which height and width are multiples.
        dynamic: Whether other sizes shall be answered too.

    Raises:
        ConfigError: The file does not take that size, or the size is no multiple of the stride.
    """
    if fixed is not None and (dynamic or imgsz not in (None, fixed)):
        msg = (
            f"{file} takes images of {fixed[0]}x{fixed[1]} only; leave out"
            f" {'--dynamic' if dynamic else '--imgsz'}"
        )
        raise ConfigError(msg)
    sides = imgsz or fixed
    if sides is None:
        msg = (
            f"{file} takes images of any size; choose the usual one with --imgsz, for example"
            " --imgsz 512,1024"
        )
        raise ConfigError(msg)
    if any(side % stride for side in sides):
        msg = (
            f"{file} is to take images of {sides[0]}x{sides[1]}, and --stride is {stride}; both"
            " sides must be multiples of it"
        )
        raise ConfigError(msg)
    return sides


def _target(path: Path, ending: str) -> Path:
    if path.suffix != ending:
        msg = f"--output-file is {path}; what is adopted here must end with {ending}"
        raise ConfigError(msg)
    return path


def _refuse(file: Path, given: Mapping[str, object], reason: str) -> None:
    """Refuse options that would do nothing."""
    useless = [name for name, value in given.items() if value]
    if useless:
        msg = (
            f"{' and '.join(useless)} cannot be used with {file}:"
            f" {'they are' if len(useless) > 1 else 'it is'} for {reason}"
        )
        raise ConfigError(msg)


def adopt_weights(
    file: Path,
    target: Path,
    spec: InputSpec,
    classes: tuple[LabelClass, ...],
    *,
    imgsz: tuple[int, int] | None,
    architecture: str | None,
    arguments: Sequence[str],
) -> None:
    """Write a checkpoint of foreign weights.

    Raises:
        ConfigError: The network or its size was not named.
        ModelError: The file holds no weights, or not those of the network.
    """
    if architecture is None or imgsz is None:
        msg = (
            f"{file} is no ONNX file; for weights of PyTorch name the network and its size with"
            " --model and --imgsz"
        )
        raise ConfigError(msg)
    try:
        from segdeploy.models.checkpoint import Checkpoint, save_checkpoint

        from .external_model import read_weights
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(error.name, "train") from error
    card = ModelCard(
        architecture=architecture,
        arguments=dict(argument(text) for text in arguments),
        classes=classes,
        input=structs.replace(spec, height=imgsz[0], width=imgsz[1]),
    )
    checkpoint = Checkpoint(card=card, weights=read_weights(file), state={})
    stride = getattr(checkpoint.network().network, "stride", spec.stride)
    if any(side % stride for side in imgsz):
        msg = (
            f"{architecture} takes multiples of {stride}, and --imgsz is {imgsz[0]},{imgsz[1]};"
            " choose another size"
        )
        raise ModelError(msg)
    told = structs.replace(card, input=structs.replace(card.input, stride=stride))
    save_checkpoint(target, replace(checkpoint, card=told))


def argument(text: str) -> tuple[str, Any]:
    """Read an argument of a network, its value as in TOML, or else a plain word.

    Raises:
        ConfigError: It is no KEY=VALUE.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        msg = f"{text!r} is no KEY=VALUE; write for example --argument width=16"
        raise ConfigError(msg)
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
