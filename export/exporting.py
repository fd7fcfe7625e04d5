"""A checkpoint in, proven files out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from segdeploy.card import ModelCard
from segdeploy.checkpoint import load_checkpoint
from segdeploy.console import progress
from segdeploy.models import Deployed
from segdeploy.runs import new_run

from .converting import convert, search_int8
from .evidence import Evidence, gather
from .heads import with_output
from .making import Artifact, Proving, make, make_best
from .order import Order
from .proof import questions
from .trial import Trial


@dataclass(frozen=True, kw_only=True)
class Made:
    """A proven file, and how it was chosen.

    Attributes:
        artifact: The file.
        trials: Candidates in 8 bits, in the order in which they were tried; empty of other precisions.
    """

    artifact: Artifact
    trials: tuple[Trial, ...] = ()

    @property
    def chosen(self) -> Trial | None:
        """The candidate that became the file."""
        return next((trial for trial in self.trials if trial.conversion == self.artifact.card.conversion), None)

    def to_dict(self) -> dict[str, Any]:
        """Give the values as JSON knows them."""
        return {**self.artifact.to_dict(), "candidates": [trial.to_dict() for trial in self.trials]}


def export_all(checkpoint: Path, targets: Mapping[str, Path], order: Order) -> Iterator[Made]:
    """Export a checkpoint to several formats, and give each file as soon as it stands.

    Args:
        checkpoint: What `segdeploy train` wrote.
        targets: Path of the file of each format, by the format's name.
        order: What the files shall be.

    Raises:
        ModelError: The checkpoint cannot be used.
        ExportError: The network cannot be converted.
        GateError: A file does not answer as PyTorch does; a SpoiledError where that is so of every candidate in 8 bits.
    """
    loaded = load_checkpoint(checkpoint)
    card = ordered(loaded.card, order)
    yield from export_network(with_output(loaded.network(), card), card, targets, order)


def export_network(network: Deployed, card: ModelCard, targets: Mapping[str, Path], order: Order) -> Iterator[Made]:
    """Export a network that answers what its card says; see `export_all`."""
    most = order.proof_pictures
    evidence = gather(card, dataset=order.dataset, data=order.data, files=order.files, most=most)
    for name, target in targets.items():
        yield _export(name, target, network, card, evidence, order)


def _repository(folder: Path, network: Deployed, card: ModelCard, evidence: Evidence, order: Order) -> Made:
    """Export an ONNX file into a repository of Triton, whose clients want classes and not logits."""
    from . import to_triton

    served = replace(card, output="classes") if card.output == "logits" else card
    device = order.serve_on if order.serve_on != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    made: list[Made] = []

    def write(path: Path) -> None:
        made.append(_export("onnx", path, with_output(network, served), served, evidence, order))

    size = to_triton.write_repository(folder, served, device=device, write_model=write)
    return replace(made[0], artifact=replace(made[0].artifact, path=folder, size=size))


def _export(name: str, target: Path, network: Deployed, card: ModelCard, evidence: Evidence, order: Order) -> Made:
    if name == "triton":
        return _repository(target, network, card, evidence, order)
    proving = Proving(evidence=evidence, max_miou_drop=order.max_miou_drop, report=partial(new_run, "export", target.name))
    if card.precision == "int8":
        with progress(f"int8 of {target.name}", None) as step:
            search, kind = search_int8(name, network, card=card, evidence=evidence, order=order, on_step=step)
            artifact = make_best(target, search, kind=kind, network=network, card=card, proving=replace(proving, on_step=step))
        return Made(artifact=artifact, trials=tuple(search.trials))
    candidate, kind = convert(name, network, card=card, opset=order.opset)
    with progress(f"proof of {target.name}", questions(card, len(evidence))) as step:
        return Made(artifact=make(target, candidate, kind=kind, network=network, card=card, proving=replace(proving, on_step=step)))


def ordered(card: ModelCard, order: Order) -> ModelCard:
    """Give the card of the files: of another size where one is asked for, at which the scores are not known."""
    height, width = order.imgsz or (card.input.height, card.input.width)
    same = (height, width) == (card.input.height, card.input.width)
    spec = replace(card.input, height=height, width=width, dynamic=order.dynamic)
    told = replace(card, output=order.answer, confidence=order.confidence, precision=order.precision)
    return replace(told, input=spec, scores=card.scores if same else None)
