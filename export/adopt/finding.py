"""Which convention a network is fed by: as told, as its file says, as labels or norms do."""

from collections.abc import Callable, Sequence
from pathlib import Path

from segdeploy.arrays import Batch
from segdeploy.backends.base import Backend
from segdeploy.card import InputSpec, ModelCard
from segdeploy.cli.console import progress
from segdeploy.datasets.dataset import evenly_spaced
from segdeploy.datasets.registry import open_for_card
from segdeploy.imaging.preprocess import to_batch
from segdeploy.inference.label_map import map_by_name, same_order

from ..proof import ProofImages
from .convention import (
    Convention,
    Finding,
    LabeledSamples,
    Moments,
    Told,
    assumed,
    conventions_to_try,
    find_by_labels,
    find_by_norms,
    norm_distance,
)

GUESSED_IMAGES = 2
"""Images that batch norms are looked at on."""

NormMoments = Callable[[Sequence[Batch], Sequence[InputSpec]], list[list[tuple[Moments, Moments]]]]
"""Called with images and conventions; returns for each what the batch norms see and have stored."""


def open_labeled(
    card: ModelCard, *, dataset: str | None, data: Path | None
) -> LabeledSamples | None:
    """Open the labeled images that tell the convention; None where there are none.

    Classes are compared by their names, or by their order where no name is in both.

    Args:
        card: Card of the network.
        dataset: Name of the dataset; None for none.
        data: Folder of the dataset; None for none.

    Raises:
        ConfigError: A folder is named and no dataset.
        DataError: The dataset cannot be used.
    """
    if dataset is None and data is None:
        return None
    name, split = open_for_card(card, dataset, data=data, split="val")
    mapping = map_by_name(card.classes, split.classes)
    if all(index == len(split.classes) for index in mapping.indices):
        if len(card.classes) != len(split.classes):
            return None
        mapping = same_order(len(split.classes))
    return LabeledSamples(source=f"{name} val", dataset=split, mapping=mapping)


def find_convention(
    card: ModelCard,
    told: Told,
    *,
    known: Convention | None,
    fixed: Convention | None,
    samples: LabeledSamples | None,
    make_backend: Callable[[ModelCard], Backend],
    norm_moments: NormMoments,
    images: ProofImages,
) -> Finding:
    """Return how a network wants its images.

    What the user tells comes first, then what the file tells, then labels, then batch norms.

    Args:
        card: Card of the network, whose input is changed.
        told: What the user tells.
        known: What the file tells; None for nothing.
        fixed: Mean and deviation of a network that has its own; None for the usual case.
        samples: Labeled images; None for none.
        make_backend: Returns the network as its authors run it, with the input of a card.
        norm_moments: Returns what its batch norms see.
        images: Images without labels.
    """
    numbers = fixed or told.numbers()
    if numbers is not None and (told.bgr is not None or samples is None):
        ordered = with_order(numbers, bgr=bool(told.bgr))
        return Finding(convention=ordered, source="told", reason="as told")
    if known is not None and numbers is None:
        ordered = with_order(known, bgr=known.bgr if told.bgr is None else told.bgr)
        return Finding(convention=ordered, source="file", reason="as its file says")
    if samples is not None:
        shown = [samples.dataset[index].image for index in samples.indices()]
        candidates = conventions_to_try(told, shown, numbers=numbers)
        with progress("trying conventions", len(candidates)) as step:
            finding = find_by_labels(candidates, card, make_backend, samples, on_step=step)
        if finding.table[0][1] > 0:
            return finding
    candidates = conventions_to_try(told, (), numbers=numbers)
    chosen = evenly_spaced(len(images), GUESSED_IMAGES)
    batches = [to_batch([images[index][0]], card.input) for index in chosen]
    layers = norm_moments(batches, [one.apply(card.input) for one in candidates])
    if not layers:
        return assumed(told)
    distances = [norm_distance(one) for one in layers]
    return find_by_norms(candidates, distances, source=images.source)


def with_order(convention: Convention, *, bgr: bool) -> Convention:
    """Return a convention with another order of the channels."""
    return Convention(name=convention.name, mean=convention.mean, std=convention.std, bgr=bgr)
