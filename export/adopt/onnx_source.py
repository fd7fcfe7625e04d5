"""Adoption of an ONNX file: it gets a card, takes uint8 images, and is proven to be the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path

import onnx
from msgspec import structs
from onnx import TensorProto, helper

from segdeploy.arrays import Batch
from segdeploy.backends.loading import KINDS
from segdeploy.card import CARD_KEY, InputSpec, LabelClass, ModelCard
from segdeploy.cli.console import progress
from segdeploy.errors import ConfigError
from segdeploy.inference.self_test import built_in_image
from segdeploy.system.files import replacing
from segdeploy.system.runs import new_run

from ..proof import count_comparisons, input_sizes, open_proof_images
from ..writer import ProofSettings, write_and_prove
from .answers import Answers, check_threshold, find_kind, find_layout, name_classes
from .config import AdoptConfig, Adoption
from .convention import RGB, Convention
from .finding import find_convention, open_labeled
from .label_sets import metadata_classes, named_classes, parse_value
from .observation import observe, warnings
from .onnx_backend import ExternalNetwork, OriginalBackend
from .onnx_file import ExternalModel, read_external
from .onnx_wrapper import wrap_graph

NEUTRAL = Convention(name="uint8, which the file itself normalizes", mean=(0, 0, 0), std=(1, 1, 1))


def adopt_onnx(path: Path, config: AdoptConfig) -> Adoption:
    """Wrap an external file, prove that its output is the same as before, and write it.

    Args:
        path: The file.
        config: The options.

    Raises:
        ConfigError: The options do not fit the file.
        ModelError: It is not a network that can be adopted.
        ProofError: The output of the new file is different.
    """
    target = config.target(path, ".onnx")
    external = read_external(path, output_name=config.output_name)
    if CARD_KEY in external.metadata:
        msg = f"{path} has a card already; it is run, exported and measured as it is"
        raise ConfigError(msg)
    if external.element == TensorProto.UINT8 and config.told.numbers() is not None:
        msg = (
            f"--mean and --std have no effect: {path} takes uint8 and normalizes it; leave them out"
        )
        raise ConfigError(msg)
    network = ExternalNetwork(external)
    card, answers, shape = _describe(network, config)
    images = open_proof_images(
        card,
        dataset=config.dataset,
        data=config.data,
        files=config.files,
        most=config.proof_images,
    )
    finding = find_convention(
        card,
        config.told,
        known=_metadata_convention(external),
        fixed=NEUTRAL if external.element == TensorProto.UINT8 else None,
        samples=open_labeled(card, dataset=config.dataset, data=config.data),
        make_backend=lambda tried: OriginalBackend(network, tried, answers),
        norm_moments=network.norm_moments,
        images=images,
    )
    card = structs.replace(
        card,
        input=finding.convention.apply(card.input),
        conversion={
            "adopted_from": path.name,
            "convention": finding.sentence,
            **({} if answers.threshold is None else {"threshold": answers.threshold}),
        },
    )
    original = OriginalBackend(network, card, answers)
    seen = warnings(observe(original, images, name=path), original)
    if external.dropped:
        seen.append(f"of its outputs only {external.output_name!r} is kept; see --output-name")
    model = wrap_graph(external, card, answers=answers, shape=shape)
    with (
        progress(f"adopting {target.name}", count_comparisons(card, len(images))) as step,
        replacing(target) as part,
    ):
        artifact = write_and_prove(
            target,
            part,
            AdoptedCandidate(model=model),
            kind=KINDS[".onnx"],
            reference=original,
            card=card,
            settings=ProofSettings(
                images=images, new_report=partial(new_run, "adopt", target.name), on_step=step
            ),
        )
    return Adoption(
        path=target, card=artifact.card, finding=finding, warnings=tuple(seen), artifact=artifact
    )


def _describe(
    network: ExternalNetwork, config: AdoptConfig
) -> tuple[ModelCard, Answers, tuple[int, ...]]:
    """Return the card, what the file returns, and the shape of its planes for one image.

    Raises:
        ConfigError: The file does not accept the size, or the options do not fit.
        ModelError: It returns no image, or one that the classes do not fit; or it fails on a size
            that it must accept.
    """
    external = network.external
    named = named_classes(config.classes)
    if named is None:
        named = metadata_classes(external.metadata)
    stride = config.stride or _metadata_stride(external)
    height, width = choose_size(external, imgsz=config.imgsz, stride=stride, dynamic=config.dynamic)
    spec = InputSpec(
        height=height,
        width=width,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        fit=config.fit or ("pad" if _is_ultralytics(external) else "stretch"),
        stride=stride,
        dynamic=config.dynamic,
    )
    raw, *_ = [
        network.run(built_in_image(*size)[0], structs.replace(spec, height=size[0], width=size[1]))
        for size in input_sizes(spec)
    ]
    black = network.run(255 - built_in_image(height, width)[0], spec)
    counts = _likely_channels(named)
    layout = find_layout(raw.shape, (height, width), channels=counts, source=external.path)
    planes = [layout.planes(output) for output in (raw, black)]
    kind = find_kind(planes, last=external.last_operator, told=config.answers)
    classes, is_added = name_classes(
        kind, len(planes[0]), named, background=config.background, source=external.path
    )
    threshold = check_threshold(config.threshold, is_background_added=is_added)
    answers = Answers(kind=kind, layout=layout, threshold=threshold)
    card = ModelCard(
        architecture=external.path.stem,
        classes=classes,
        input=spec,
        output=answers.output,
        precision=external.precision,
    )
    return card, answers, planes[0].shape


def _likely_channels(named: Sequence[LabelClass] | None) -> set[int]:
    """Return how many channels a network of these classes has: all, or all but a background."""
    if named is None:
        return set()
    return {1, len(named), len(named) - 1} if len(named) <= 2 else {len(named), len(named) - 1}


def choose_size(
    external: ExternalModel, *, imgsz: tuple[int, int] | None, stride: int, dynamic: bool
) -> tuple[int, int]:
    """Return the height and the width of the new file's input, in pixels.

    Args:
        external: The file.
        imgsz: The requested size; the file's where None.
        stride: Number of which height and width are multiples.
        dynamic: Whether other sizes must be accepted too.

    Raises:
        ConfigError: The file does not accept that size, or the size is not a multiple of the
            stride.
    """
    path, fixed = external.path, external.size
    if fixed is not None and (dynamic or imgsz not in (None, fixed)):
        option = "--dynamic" if dynamic else "--imgsz"
        msg = f"{path} takes images of {fixed[0]}x{fixed[1]} only; leave out {option}"
        raise ConfigError(msg)
    size = imgsz or fixed or _metadata_size(external)
    if size is None:
        msg = (
            f"{path} takes images of any size; choose the usual one with --imgsz, for example"
            " --imgsz 512,1024"
        )
        raise ConfigError(msg)
    if any(side % stride for side in size):
        msg = (
            f"the input of {path} is {size[0]}x{size[1]}, and --stride is {stride}; both sides must"
            " be multiples of it"
        )
        raise ConfigError(msg)
    return size


def _metadata_size(external: ExternalModel) -> tuple[int, int] | None:
    """Return the size that a file of any size says it was trained at."""
    for key in ("imgsz", "image_size", "input_size"):
        value = parse_value(external.metadata.get(key, ""))
        sides = [value, value] if isinstance(value, int) else value
        if isinstance(sides, list | tuple) and len(sides) == 2:
            height, width = sides
            if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
                return height, width
    return None


def _metadata_stride(external: ExternalModel) -> int:
    value = parse_value(external.metadata.get("stride", ""))
    if not isinstance(value, int) or value < 1:
        return 1
    return value if external.size is None or not any(s % value for s in external.size) else 1


def _is_ultralytics(external: ExternalModel) -> bool:
    return external.metadata.get("author", "") == "Ultralytics"


def _metadata_convention(external: ExternalModel) -> Convention | None:
    """Return the convention that a file tells in its metadata: Ultralytics', or mean and std."""
    if _is_ultralytics(external):
        return Convention(name="[0, 1]", mean=(0, 0, 0), std=(1, 1, 1))
    mean, std = (_triple(external.metadata.get(key, "")) for key in ("mean", "std"))
    if mean is None or std is None or min(std) <= 0:
        return None
    white = 255.0 if max(*mean, *std) > LARGEST_UNIT else 1.0
    return Convention(
        name="mean and deviation of its metadata",
        mean=(mean[0] / white, mean[1] / white, mean[2] / white),
        std=(std[0] / white, std[1] / white, std[2] / white),
    )


LARGEST_UNIT = 2.0
"""Means and deviations above it are of [0, 255]; those of [0, 1] are at most 1."""


def _triple(text: str) -> RGB | None:
    """Return three numbers of a text; None where it holds something else."""
    value = parse_value(text)
    if not isinstance(value, list | tuple) or len(value) != 3:
        return None
    if not all(isinstance(number, int | float) and isfinite(number) for number in value):
        return None
    red, green, blue = map(float, value)
    return red, green, blue


@dataclass(frozen=True, kw_only=True)
class AdoptedCandidate:
    """A wrapped external file that is not yet proven.

    Attributes:
        model: The graph.
    """

    model: onnx.ModelProto

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file with the metadata in it."""
        helper.set_model_props(self.model, dict(metadata))
        path.write_bytes(self.model.SerializeToString())

    def first_diverging(self, path: Path, batch: Batch) -> str:  # noqa: ARG002 - an interface
        """Return the only layers in which a difference can arise."""
        return "the preprocessing of the image, which is all that was added"
