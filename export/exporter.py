"""Checkpoint -> candidates -> proven files."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from segdeploy.backends.loading import KINDS, Kind
from segdeploy.card import ModelCard
from segdeploy.cli.console import note, progress
from segdeploy.errors import MissingExtraError
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed
from segdeploy.system.runs import new_run

from .calibration import gather_calibration
from .capture import with_output
from .config import FORMATS, LEAST, ExportConfig
from .int8_candidates import CandidateEvaluator, Int8Candidate
from .proof import ProofImages, gather, questions
from .writer import Artifact, Candidate, Proving, Search, make, make_best

EXTRAS = {"onnx": "export", "onnxscript": "export", "openvino": "openvino", "nncf": "openvino"}
"""Extra that brings a library which only some formats need."""


def convert(name: str, network: Deployed, *, card: ModelCard, opset: int) -> tuple[Candidate, Kind]:
    """Convert a network to a format by its name, and tell what runs the file.

    Args:
        name: One of `FORMATS`.
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.
        opset: Version of ONNX's operators.

    Raises:
        ExportError: The network cannot be converted.
        MissingExtraError: A library of the format is not installed.
    """
    kind = KINDS[FORMATS[name].ending]
    if name in ("torchscript", "pt2"):
        return getattr(neighbor("torch_formats"), f"to_{name}")(network, card), kind
    candidate = neighbor("onnx_format").convert(network, card, opset=opset)
    if name == "openvino":
        return neighbor("openvino_format").from_onnx(candidate, precision=card.precision), kind
    return (
        neighbor("onnx_format").to_half(candidate) if card.precision == "fp16" else candidate
    ), kind


def search_int8(
    name: str,
    network: Deployed,
    *,
    card: ModelCard,
    evidence: ProofImages,
    order: ExportConfig,
    on_step: Callable[[str], None],
) -> tuple[Search, Kind]:
    """Prepare the search for the best file in 8 bits, and tell what runs it.

    Args:
        name: "onnx" or "openvino".
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.
        evidence: Images of the proof.
        order: What the file shall be.
        on_step: Called after each step of the search.

    Raises:
        ConfigError: Nothing tells what the network was trained on.
        DataError: The training split cannot be read.
        ExportError: The network cannot be converted.
        MissingExtraError: A library of the format is not installed.
    """
    calibration = gather_calibration(
        card, dataset=order.dataset, data=order.data, count=order.calibration_images
    )
    if len(calibration) < LEAST:
        note(
            f"{calibration.source} has {len(calibration)} images; a calibration is trusted from"
            f" {LEAST} on"
        )
    candidate, kind = convert(
        name, network, card=replace(card, precision="fp32"), opset=order.opset
    )
    module = neighbor({"onnx": "onnx_int8", "openvino": "openvino_int8"}[name])
    judge = CandidateEvaluator(
        calibration=calibration,
        evidence=evidence,
        max_miou_drop=order.max_miou_drop,
        on_step=on_step,
    )
    search: Search = module.Search(candidate, card, judge)
    return search, kind


def neighbor(module: str) -> Any:  # noqa: ANN401 - the modules share functions, not a type
    """Import a module of this workshop that wraps a library, which is imported only for its own format.

    Raises:
        MissingExtraError: The library is not installed.
    """
    try:
        return importlib.import_module(f".{module}", __package__)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise MissingExtraError(error.name, EXTRAS[error.name]) from error


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A proven file, and how it was chosen.

    Attributes:
        artifact: The file.
        candidates: Candidates in 8 bits, in the order in which they were tried; empty of other
            precisions.
    """

    artifact: Artifact
    candidates: tuple[Int8Candidate, ...] = ()

    @property
    def chosen(self) -> Int8Candidate | None:
        """The candidate that became the file."""
        return next(
            (
                trial
                for trial in self.candidates
                if trial.conversion == self.artifact.card.conversion
            ),
            None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them."""
        return {
            **self.artifact.to_dict(),
            "candidates": [trial.to_dict() for trial in self.candidates],
        }


def export_all(
    checkpoint: Path, targets: Mapping[str, Path], order: ExportConfig
) -> Iterator[ExportResult]:
    """Export a checkpoint to several formats, and give each file as soon as it stands.

    Args:
        checkpoint: What `segdeploy train` wrote.
        targets: Path of the file of each format, by the format's name.
        order: What the files shall be.

    Raises:
        ModelError: The checkpoint cannot be used.
        ExportError: The network cannot be converted.
        GateError: A file does not answer as PyTorch does; a SpoiledError where that is so of every
            candidate in 8 bits.
    """
    loaded = load_checkpoint(checkpoint)
    card = ordered(loaded.card, order)
    yield from export_network(with_output(loaded.network(), card), card, targets, order)


def export_network(
    network: Deployed, card: ModelCard, targets: Mapping[str, Path], order: ExportConfig
) -> Iterator[ExportResult]:
    """Export a network that answers what its card says; see `export_all`."""
    most = order.proof_images
    evidence = gather(card, dataset=order.dataset, data=order.data, files=order.files, most=most)
    for name, target in targets.items():
        yield _export(name, target, network, card, evidence, order)


def _repository(
    folder: Path, network: Deployed, card: ModelCard, evidence: ProofImages, order: ExportConfig
) -> ExportResult:
    """Export an ONNX file into a repository of Triton, whose clients want classes and not logits."""
    from . import triton_repository

    served = replace(card, output="classes") if card.output == "logits" else card
    device = (
        order.serve_on
        if order.serve_on != "auto"
        else "cuda"
        if torch.cuda.is_available()
        else "cpu"
    )
    made: list[ExportResult] = []

    def write(path: Path) -> None:
        made.append(_export("onnx", path, with_output(network, served), served, evidence, order))

    size = triton_repository.write_repository(folder, served, device=device, write_model=write)
    return replace(made[0], artifact=replace(made[0].artifact, path=folder, size=size))


def _export(
    name: str,
    target: Path,
    network: Deployed,
    card: ModelCard,
    evidence: ProofImages,
    order: ExportConfig,
) -> ExportResult:
    if name == "triton":
        return _repository(target, network, card, evidence, order)
    proving = Proving(
        evidence=evidence,
        max_miou_drop=order.max_miou_drop,
        report=partial(new_run, "export", target.name),
    )
    if card.precision == "int8":
        with progress(f"int8 of {target.name}", None) as step:
            search, kind = search_int8(
                name, network, card=card, evidence=evidence, order=order, on_step=step
            )
            artifact = make_best(
                target,
                search,
                kind=kind,
                network=network,
                card=card,
                proving=replace(proving, on_step=step),
            )
        return ExportResult(artifact=artifact, candidates=tuple(search.candidates))
    candidate, kind = convert(name, network, card=card, opset=order.opset)
    with progress(f"proof of {target.name}", questions(card, len(evidence))) as step:
        return ExportResult(
            artifact=make(
                target,
                candidate,
                kind=kind,
                network=network,
                card=card,
                proving=replace(proving, on_step=step),
            )
        )


def ordered(card: ModelCard, order: ExportConfig) -> ModelCard:
    """Return the card of the files.

    Of another size where one is asked for, at which the scores are not known.
    """
    height, width = order.imgsz or (card.input.height, card.input.width)
    same = (height, width) == (card.input.height, card.input.width)
    spec = replace(card.input, height=height, width=width, dynamic=order.dynamic)
    told = replace(
        card, output=order.answer, confidence=order.confidence, precision=order.precision
    )
    return replace(told, input=spec, scores=card.scores if same else None)
