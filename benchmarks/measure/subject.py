"""What is measured: a thing that turns images into masks, whoever wrote it."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from segdeploy.arrays import Image, Mask
from segdeploy.backends.base import Backend
from segdeploy.card import ModelCard
from segdeploy.imaging.preprocess import to_batch
from segdeploy.inference.predictor import Predictor
from segdeploy.system.machine import cores

from ..results.row import Setting
from ..results.variant import Variant


@dataclass(frozen=True, kw_only=True)
class SystemUnderTest:
    """A loaded network with a way around it.

    Attributes:
        setting: What runs, as it was granted.
        card: The network's card; None of a peer with a network of its own, whose masks say nothing.
        masks: From images of any sizes to a mask each, of the image's own size.
        prepare: From images to what `infer` takes.
        infer: The network alone.
    """

    setting: Setting
    card: ModelCard | None
    masks: Callable[[Sequence[Image]], Sequence[Mask]]
    prepare: Callable[[Sequence[Image]], Any]
    infer: Callable[[Any], object]


def subject_of(way: Variant) -> SystemUnderTest:
    """Load what is to be measured.

    Raises:
        SegdeployError: It cannot be used.
    """
    if not way.peer:
        return ours(way.load(), way)
    # Each brings a library of its own, and one row needs one of them.
    module = importlib.import_module("segdeploy.benchmarks.measure.peers")
    found: SystemUnderTest = module.peer(way)
    return found


def ours(backend: Backend, way: Variant) -> SystemUnderTest:
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
    return SystemUnderTest(
        setting=setting,
        card=card,
        masks=Predictor(backend).masks,
        prepare=lambda images: to_batch(images, card.input),
        infer=backend.run,
    )
