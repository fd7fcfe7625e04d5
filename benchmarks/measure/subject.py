"""What is measured: a thing that turns pictures into masks, whoever wrote it."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from segdeploy.arrays import Mask, Picture
from segdeploy.backends.base import Backend
from segdeploy.card import ModelCard
from segdeploy.imaging.preprocess import to_batch
from segdeploy.inference.predictor import Predictor
from segdeploy.system.machine import cores

from ..results.row import Setting
from ..results.variant import Way


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A loaded network with a way around it.

    Attributes:
        setting: What runs, as it was granted.
        card: The network's card; None of a peer with a network of its own, whose masks say nothing.
        masks: From pictures of any sizes to a mask each, of the picture's own size.
        prepare: From pictures to what `infer` takes.
        infer: The network alone.
    """

    setting: Setting
    card: ModelCard | None
    masks: Callable[[Sequence[Picture]], Sequence[Mask]]
    prepare: Callable[[Sequence[Picture]], Any]
    infer: Callable[[Any], object]


def subject_of(way: Way) -> Subject:
    """Load what is to be measured.

    Raises:
        SegdeployError: It cannot be used.
    """
    if not way.peer:
        return ours(way.load(), way)
    # Each brings a library of its own, and one row needs one of them.
    module = importlib.import_module("segdeploy.benchmarks.measure.peers")
    found: Subject = module.rival(way)
    return found


def ours(backend: Backend, way: Way) -> Subject:
    """Take an artifact as `Predictor` runs it."""
    card = backend.card
    setting = Setting(
        architecture=card.architecture,
        precision=card.precision,
        input=(card.input.height, card.input.width),
        device=backend.device,
        threads=way.threads or cores(),
        batch=way.batch,
    )
    return Subject(
        setting=setting,
        card=card,
        masks=Predictor(backend).masks,
        prepare=lambda pictures: to_batch(pictures, card.input),
        infer=backend.run,
    )
