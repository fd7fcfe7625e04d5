"""How a network wants its images: the order of its channels, and what is subtracted and divided.

No file of weights says it, and a wrong one costs most of the labels without any error.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import structs

from segdeploy.arrays import Image
from segdeploy.backends.base import Backend
from segdeploy.card import IMAGENET_MEAN, IMAGENET_STD, InputSpec, ModelCard
from segdeploy.datasets.dataset import Dataset, evenly_spaced
from segdeploy.errors import ConfigError, ModelError
from segdeploy.inference.label_map import ClassMapping
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.segmentation import ConfusionMatrix

RGB = tuple[float, float, float]

SCORED_IMAGES = 8
"""Labeled images that conventions are scored on."""

EQUAL_DISTANCE = 1.02
"""Distances from batch norms within this ratio count as equal: the order of the channels often
changes little more."""

CLEAR_LEAD = 0.02
"""Lead in mIoU from which on a convention is called found."""


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How an image becomes the network's input.

    Attributes:
        name: What it is called, without the order of the channels.
        mean: Mean of red, green, blue in [0, 1].
        std: Deviation of red, green, blue in [0, 1].
        bgr: Whether the network takes BGR.
    """

    name: str
    mean: RGB
    std: RGB
    bgr: bool = False

    @property
    def title(self) -> str:
        """Its name with the order of the channels."""
        return f"{'BGR' if self.bgr else 'RGB'}, {self.name}"

    def apply(self, spec: InputSpec) -> InputSpec:
        """Return an input that follows it."""
        return structs.replace(spec, mean=self.mean, std=self.std, bgr=self.bgr)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the user says of the convention; None for what is left open.

    Attributes:
        mean: Mean of red, green, blue, of the range of `white`.
        std: Their deviation.
        white: Value of white that mean and deviation refer to, 1 or 255.
        bgr: Whether the network takes BGR.
    """

    mean: RGB | None = None
    std: RGB | None = None
    white: float | None = None
    bgr: bool | None = None

    def numbers(self) -> Convention | None:
        """Return the convention of the told numbers, in RGB unless told; None if none are told.

        Raises:
            ConfigError: Some are told, and others that belong to them are not.
        """
        if self.mean is None and self.std is None:
            if self.white is not None:
                msg = "--range has no effect without --mean and --std; give all, or none"
                raise ConfigError(msg)
            return None
        if self.mean is None or self.std is None:
            given, missing = ("mean", "std") if self.std is None else ("std", "mean")
            usual = "--std 1" if missing == "std" else "--mean 0"
            msg = (
                f"--{given} is given and --{missing} is not; give both, for example {usual}, or"
                " none, to have them found"
            )
            raise ConfigError(msg)
        white = self.white or 1.0
        mean, std = (_triple(value / white for value in of) for of in (self.mean, self.std))
        return Convention(name=describe(mean, std), mean=mean, std=std, bgr=bool(self.bgr))


def _triple(values: Iterable[float]) -> RGB:
    red, green, blue = values
    return red, green, blue


def describe(mean: RGB, std: RGB) -> str:
    """Return the name of a convention, or its numbers where it has no name."""
    for one in usual_conventions():
        if np.allclose((one.mean, one.std), (mean, std), rtol=1e-3, atol=1e-4):
            return one.name
    numbers = (",".join(f"{value:.4g}" for value in of) for of in (mean, std))
    return "mean {}, std {} of [0, 1]".format(*numbers)


def usual_conventions() -> list[Convention]:
    """Return the conventions of the usual trainers, for RGB."""
    one, byte, half = (1.0,) * 3, (1 / 255,) * 3, (0.5,) * 3
    zero = (0.0,) * 3
    return [
        Convention(name="ImageNet's mean and deviation", mean=IMAGENET_MEAN, std=IMAGENET_STD),
        Convention(name="[0, 1]", mean=zero, std=one),
        Convention(name="[-1, 1]", mean=half, std=half),
        Convention(name="[0, 255]", mean=zero, std=byte),
        Convention(name="[0, 255] less ImageNet's mean", mean=IMAGENET_MEAN, std=byte),
    ]


def conventions_to_try(
    told: Told,
    images: Sequence[Image],
    *,
    numbers: Convention | None = None,
) -> list[Convention]:
    """Return the conventions that are possible: all usual ones, in both orders, unless told.

    Args:
        told: What is known.
        images: Images of the network's data, (H, W, 3) uint8 BGR, whose mean is a convention too.
        numbers: The only mean and deviation that are possible; None for those that are told, if
            any are.
    """
    numbers = numbers or told.numbers()
    usual = [numbers] if numbers else [*usual_conventions(), *_of_data(images)]
    orders = (False, True) if told.bgr is None else (told.bgr,)
    return [
        Convention(name=one.name, mean=one.mean, std=one.std, bgr=bgr)
        for one in usual
        for bgr in orders
    ]


def _of_data(images: Sequence[Image]) -> list[Convention]:
    """Return the conventions that take the mean of the data themselves."""
    if not images:
        return []
    sums = np.array([(image.mean((0, 1)), (image / 255.0).var((0, 1))) for image in images])
    mean = _triple(float(value) / 255 for value in sums[:, 0].mean(0)[::-1])
    std = _triple(max(float(value), 1e-3) for value in np.sqrt(sums[:, 1].mean(0))[::-1])
    return [
        Convention(name="[0, 255] less the data's mean", mean=mean, std=(1 / 255,) * 3),
        Convention(name="the data's mean and deviation", mean=mean, std=std),
    ]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The convention that is used, and where it comes from.

    Attributes:
        convention: The convention.
        source: "told", "file", "labels", "batch norm" or "assumed".
        reason: What speaks for it, as the end of a sentence.
        table: What was tried, with its score; the best first.
        measure: What the scores are, for the head of the table.
    """

    convention: Convention
    source: str
    reason: str
    table: tuple[tuple[Convention, float], ...] = ()
    measure: str = ""

    @property
    def sentence(self) -> str:
        """The line of the output, which also stands in the card."""
        return f"{self.convention.title} ({self.reason})"


@dataclass(frozen=True, kw_only=True)
class LabeledSamples:
    """Labeled images on which conventions are scored.

    Attributes:
        source: Name of the dataset and the split.
        dataset: The split.
        mapping: From the classes of the network to those of the dataset.
    """

    source: str
    dataset: Dataset
    mapping: ClassMapping

    def indices(self) -> list[int]:
        """Return the indices of the samples that are used."""
        return evenly_spaced(len(self.dataset), SCORED_IMAGES)


def find_by_labels(
    candidates: Sequence[Convention],
    card: ModelCard,
    make_backend: Callable[[ModelCard], Backend],
    samples: LabeledSamples,
    *,
    on_step: Callable[[str], None] = lambda _: None,
) -> Finding:
    """Return the convention with the highest mIoU on labeled images.

    Args:
        candidates: What is tried.
        card: Card of the network, whose input is changed.
        make_backend: Returns the network as its authors run it, with the input of a card.
        samples: The images.
        on_step: Called after each convention.
    """
    scored = []
    for one in candidates:
        tried = structs.replace(card, input=one.apply(card.input))
        score = _score(Predictor(make_backend(tried)), samples)
        scored.append((one, score))
        on_step(f"{score:.1%}")
    # The sort is stable: of equals the more usual one comes first.
    scored.sort(key=lambda pair: -pair[1])
    best, score = scored[0]
    count = len(samples.indices())
    reason = f"found: mIoU {score:.1%} on {count} labeled images of {samples.source}"
    if len(scored) > 1:
        other, second = scored[1]
        lead = f"{100 * (score - second):.1f} points more than {other.title}"
        hint = "" if score - second >= CLEAR_LEAD else ", a narrow lead"
        reason = f"{reason}, {lead}{hint}"
    return Finding(
        convention=best, source="labels", reason=reason, table=tuple(scored), measure="mIoU"
    )


def _score(predictor: Predictor, samples: LabeledSamples) -> float:
    """Return the mIoU on labeled images; 0 where the network returns no numbers."""
    matrix = ConfusionMatrix(samples.mapping.classes, unlabeled=1)
    for index in samples.indices():
        sample = samples.dataset[index]
        matrix.add(samples.mapping.apply(predictor.mask(sample.image)), sample.mask)
    return matrix.scores().miou


Moments = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Mean and variance of each channel."""


def norm_distance(layers: Sequence[tuple[Moments, Moments]]) -> float:
    """Return how far the numbers before batch norms are from those that they saw in training.

    Args:
        layers: What each norm sees of some images, and what it has stored.

    Returns:
        Mean over layers and channels of the distance of the means in deviations, and of the
        logarithm of the ratio of the deviations; 0 is equal.
    """
    distances = []
    for (mean, variance), (stored_mean, stored_variance) in layers:
        stored = np.maximum(stored_variance, 1e-8)
        shift = np.abs(mean - stored_mean) / np.sqrt(stored)
        ratio = np.abs(np.log(np.maximum(variance, 1e-8) / stored)) / 2
        # A dead channel would outweigh all others.
        distances.append(float(np.mean(np.minimum(shift, 10) + np.minimum(ratio, 10))))
    return float(np.mean(distances))


def find_by_norms(
    candidates: Sequence[Convention], distances: Sequence[float], *, source: str
) -> Finding:
    """Return the convention that the statistics of the batch norms agree with best: a guess.

    Args:
        candidates: What was tried.
        distances: What `norm_distance` returned for each.
        source: The images.

    Raises:
        ModelError: A distance is no number, as the weights then hold one that is none.
    """
    if not np.isfinite(distances).all():
        msg = (
            f"on {source} its batch norms see numbers that are not finite; the weights are damaged,"
            " use a complete copy of the file"
        )
        raise ModelError(msg)
    ranked = sorted(zip(candidates, distances, strict=True), key=lambda pair: pair[1])
    nearest = ranked[0][1]
    # Of nearly equal ones the more usual one, which comes first.
    best = next(
        one
        for one, distance in zip(candidates, distances, strict=True)
        if distance <= nearest * EQUAL_DISTANCE
    )
    others = [distance for one, distance in ranked if one.name != best.name]
    lead = others[0] / max(nearest, 1e-9) if others else 1.0
    reason = (
        f"a guess: its batch norms agree with it best on {source}, {lead:.2f} times nearer than"
        " other numbers; labeled images (--dataset and --data) would tell"
    )
    return Finding(
        convention=best,
        source="batch norm",
        reason=reason,
        table=tuple(ranked),
        measure="distance",
    )


def assumed(told: Told) -> Finding:
    """Return the most usual convention, where nothing speaks for any."""
    convention = conventions_to_try(told, ())[0]
    reason = (
        "assumed: nothing in the file tells it; give labeled images (--dataset and --data), or"
        " --mean, --std and --bgr or --rgb"
    )
    return Finding(convention=convention, source="assumed", reason=reason)
