"""Export of a checkpoint, or of any PyTorch network, to proven files."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from msgspec import structs
from torch import nn

from segdeploy.backends.loading import KINDS
from segdeploy.card import ModelCard, Output
from segdeploy.cli.console import note, progress
from segdeploy.errors import ConfigError, ExportError
from segdeploy.inference.self_test import built_in_batch
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed
from segdeploy.models.foreign import LogitsModule
from segdeploy.models.registry import check_size, named
from segdeploy.system.files import replacing

from .capture import with_output
from .plan import (
    FORMATS,
    MIN_CALIBRATION_IMAGES,
    ExportConfig,
    ExportPlan,
    Format,
    choose_formats,
    format_of,
    import_function,
)
from .proof import count_comparisons, open_proof_images
from .writer import Artifact, Candidates, ExportResult, SingleCandidate, write_proven

if TYPE_CHECKING:
    from .onnx_network import OnnxNetwork


def export_checkpoint(
    checkpoint: Path, targets: Mapping[str, Path], config: ExportConfig
) -> Iterator[ExportResult]:
    """Export a checkpoint to several formats, and yield each file as soon as it is proven.

    Args:
        checkpoint: A file that `segdeploy train` or `segdeploy adopt` wrote.
        targets: Path of the file of each format, by the format's name.
        config: The options.

    Raises:
        ModelError: The checkpoint cannot be used.
        ConfigError: The options do not fit each other, or int8 has nothing to calibrate on.
        DataError: The images cannot be used.
        ExportError: The network cannot be converted.
        MissingExtraError: A library of a format is not installed.
        ProofError: A file's output is not PyTorch's.
        QuantizationError: No candidate in int8 passes.
    """
    if checkpoint.suffix == ".onnx":
        yield from _export_onnx(checkpoint, targets, config)
        return
    loaded = load_checkpoint(checkpoint)
    yield from export_plan(resolve(loaded.network(), loaded.card, config, targets=targets))


def _export_onnx(
    path: Path, targets: Mapping[str, Path], config: ExportConfig
) -> Iterator[ExportResult]:
    """Export an ONNX file that has a card; see `export_checkpoint`."""
    network = import_function("onnx_network:read_network")(path)
    for name, target in targets.items():
        if not FORMATS[name].of_onnx:
            possible = ", ".join(other for other in FORMATS if FORMATS[other].of_onnx)
            msg = f"an ONNX file cannot become {name}; choose --format {possible}"
            raise ConfigError(msg)
        if name == "triton" and network.one_image:
            msg = f"{path} takes one image at a time, and a server collects several; serve another"
            raise ConfigError(msg)
        if target.resolve() == path.resolve():
            msg = f"{target} is the file to be exported itself; choose another name with -o"
            raise ConfigError(msg)
    yield from export_plan(resolve(network, network.card, config, targets=targets))


def resolve(
    network: "Deployed | OnnxNetwork",
    card: ModelCard,
    config: ExportConfig,
    *,
    targets: Mapping[str, Path],
) -> ExportPlan:
    """Return the plan of an export: apply the options, and open the images.

    Args:
        network: Returns logits, in evaluation mode, on the CPU; or an ONNX graph.
        card: Its card.
        config: The options.
        targets: Path of the file of each format, by the format's name.

    Raises:
        ConfigError: The options do not fit each other, or int8 has nothing to calibrate on.
        DataError: The images cannot be used, or those of the training are not there.
    """
    card = configured(card, config)
    for name in targets:
        if FORMATS[name].check:
            import_function(FORMATS[name].check)(card, config)
    if isinstance(network, Deployed):
        _check_input(network, card)
    else:
        card = import_function("onnx_network:fitting_card")(network, card)
    unlabeled = config.calibrate if not (config.dataset or config.data) else ()
    if card.training is None and not (config.dataset or config.data or config.files or unlabeled):
        note(
            "the card names no dataset that the network was trained on, so the proof is on"
            " synthetic streets; name images like those that it will see with --verify"
        )
    proof_images = open_proof_images(
        card,
        dataset=config.dataset,
        data=config.data,
        files=config.files or unlabeled,
        most=config.proof_images,
    )
    calibration = None
    if config.precision == "int8":
        calibration = import_function("calibration:open_calibration_images")(
            card,
            dataset=config.dataset,
            data=config.data,
            files=config.calibrate,
            count=config.calibration_images,
        )
        if len(calibration) < MIN_CALIBRATION_IMAGES:
            note(
                f"{calibration.source} has {len(calibration)} images; a calibration needs"
                f" {MIN_CALIBRATION_IMAGES} to be reliable"
            )
    if card.training is not None:
        card = structs.replace(card, training=card.training.without_paths())
    return ExportPlan(
        config=config,
        card=card,
        network=_with_output(network, card),
        proof_images=proof_images,
        calibration=calibration,
        targets=targets,
    )


def _with_output(network: "Deployed | OnnxNetwork", card: ModelCard) -> "Deployed | OnnxNetwork":
    if isinstance(network, Deployed):
        return with_output(network, card)
    return network.with_output(card)


def _check_input(network: Deployed, card: ModelCard) -> None:
    """Raise a ConfigError for a size that a network does not take."""
    name = named(card.architecture, card.arguments)
    check_size(network.network, (card.input.height, card.input.width), name=name)
    if card.input.dynamic and getattr(network.network, "fixed_size", None):
        msg = f"{name} takes images of one size only; leave --dynamic out"
        raise ConfigError(msg)


def configured(card: ModelCard, config: ExportConfig) -> ModelCard:
    """Return the card of the files: a checkpoint's, with the options applied.

    At another input size than the checkpoint's the scores are not known, and left out.
    """
    usual = (card.input.height, card.input.width)
    height, width = config.imgsz or usual
    return structs.replace(
        card,
        output=config.output,
        confidence=config.confidence,
        precision=config.precision,
        input=structs.replace(card.input, height=height, width=width, dynamic=config.dynamic),
        scores=card.scores if (height, width) == usual else None,
    )


def export_plan(plan: ExportPlan) -> Iterator[ExportResult]:
    """Export to each format of a plan; see `export_checkpoint`."""
    for name, path in plan.targets.items():
        file_format = FORMATS[name]
        format_plan = with_default_output(plan, file_format)
        # How many candidates int8 takes is not known in advance.
        steps = count_comparisons(plan.card, len(plan.proof_images))
        total = None if plan.card.precision == "int8" else steps
        with progress(f"exporting {path.name}", total) as step:
            candidates = convert(format_plan, file_format, on_step=step)
            result = write_proven(
                path, candidates, format_plan, file_format=file_format, on_step=step
            )
        # Some formats have it there already, with their other metadata.
        sidecar = path.with_name(f"{path.name}.json")
        if plan.config.card_file and sidecar not in KINDS[file_format.runtime].companions(path):
            write_card_file(path, result.artifact.card)
        yield result


def write_card_file(path: Path, card: ModelCard) -> None:
    """Write a card beside a file, as FILE.json, for languages that cannot read its metadata."""
    with replacing(path.with_name(f"{path.name}.json")) as part:
        part.write_text(f"{card.to_json()}\n", encoding="utf-8")


def with_default_output(plan: ExportPlan, file_format: Format) -> ExportPlan:
    """Return the plan of one format, whose default output replaces logits."""
    if plan.card.output != "logits" or file_format.default_output == "logits":
        return plan
    card = structs.replace(plan.card, output=file_format.default_output)
    return replace(plan, card=card, network=_with_output(plan.network, card))


def convert(
    plan: ExportPlan, file_format: Format, *, on_step: Callable[[str], None] = lambda _: None
) -> Candidates:
    """Convert the network of a plan to a format.

    Args:
        plan: The plan.
        file_format: The format.
        on_step: Called after each step of the search for int8.

    Returns:
        The converted network; in int8 the search for the best candidate, which runs while it is
        iterated over.

    Raises:
        ExportError: The network cannot be converted.
        MissingExtraError: The format's library is not installed.
    """
    if plan.card.precision == "int8":
        search: Candidates = import_function(file_format.quantizer)(plan, on_step)
        return search
    return SingleCandidate(candidate=import_function(file_format.converter)(plan))


def export_module(
    network: nn.Module,
    card: ModelCard,
    path: Path | str,
    *,
    precision: str = "fp32",
    output: Output = "logits",
    proof: ExportConfig | None = None,
) -> Artifact:
    """Export any PyTorch network that returns logits, and prove the file.

    The file takes uint8 images, as every file of segdeploy does: mean and deviation of the card go
    into the graph.

    Example::

        from segdeploy.card import InputSpec, LabelClass, ModelCard
        from segdeploy.export import ExportConfig, export_module

        spec = InputSpec(height=256, width=256, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        classes = tuple(LabelClass(name=name, color=(0, 0, 0)) for name in ("sky", "road"))
        card = ModelCard(architecture="mine", classes=classes, input=spec)
        artifact = export_module(network, card, "mine.onnx", proof=ExportConfig(proof_images=5))
        print(artifact.parity.agreement)

    Args:
        network: Takes (N, 3, H, W) float32, normalized by the card's mean and std, and returns
            (N, K, h, w) logits: as a tensor, or as the value "out" or "logits" of a mapping, as the
            networks of torchvision and transformers do. It is put into evaluation mode.
        card: Its classes in channel order, and its input.
        path: Name of the file; its ending chooses the format.
        precision: "fp32", "fp16", "bf16" or "int8", if the format has it.
        output: What the file returns.
        proof: Images of the proof and the calibration, and how much mIoU int8 may lose; synthetic
            streets where None.

    Raises:
        ConfigError: The ending belongs to no format, or the format does not have the precision.
        ExportError: The network fails on an image, returns logits of other classes than the card's,
            or cannot be converted.
        ModelError: It returns no logits.
        GateError: The file's output is not the network's; no file is left.
    """
    path = Path(path)
    name = format_of(path)
    if name is None:
        endings = ", ".join(file_format.ending for file_format in FORMATS.values())
        msg = f"{path} ends with {path.suffix!r}; the formats' endings are {endings}"
        raise ConfigError(msg)
    choose_formats(name, precision)
    config = replace(
        proof or ExportConfig(), precision=precision, output=output, dynamic=card.input.dynamic
    )
    deployed = Deployed.of(LogitsModule(network.eval()), card).eval()
    check_logits(deployed, configured(card, config))
    [result] = export_plan(resolve(deployed, card, config, targets={name: path}))
    return result.artifact


def check_logits(network: Deployed, card: ModelCard) -> None:
    """Run a network on the built-in image, to find a card that does not describe it.

    Args:
        network: In evaluation mode, on the CPU.
        card: Its classes, and the size of its input.

    Raises:
        ExportError: It fails on an image, or returns logits of another number of classes.
        ModelError: It returns no logits.
    """
    height, width, channels = card.input.height, card.input.width, len(card.input.channels)
    try:
        with torch.no_grad():
            logits = network(torch.from_numpy(built_in_batch(card.input)))
    # What a network raises where its input has other channels, another size or another device.
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = " ".join(str(error).split())[:300]
        msg = (
            f"{card.architecture} fails on a float32 image (1, {channels}, {height}, {width}) on"
            f" the CPU: {reason}; correct the network or its card"
        )
        raise ExportError(msg) from error
    if logits.shape[1] != len(card.classes):
        msg = (
            f"{card.architecture} returns {logits.shape[1]} channels and its card has"
            f" {len(card.classes)} classes; name one class for each channel"
        )
        raise ExportError(msg)
