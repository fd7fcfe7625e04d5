"""What can be wrong with a split, and between two splits."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.datasets.bands import holds_colors, with_all_bands
from segdeploy.datasets.checks.duplicates import (
    NEAR,
    nearest,
    shared_scenes,
    shared_sequences,
)
from segdeploy.datasets.checks.finding import Finding, error
from segdeploy.datasets.checks.sample import ImageSummary
from segdeploy.datasets.checks.statistics import (
    Counts,
    Moments,
    SplitStatistics,
    StatisticsAccumulator,
    count,
    moments,
)
from segdeploy.datasets.dataset import Dataset
from segdeploy.datasets.index import DatasetIndex, Layout
from segdeploy.errors import DataError, LayoutNotFoundError
from segdeploy.system.concurrency import map_in_order

SHOWN_SEQUENCES = 5
"""Sequences that a message names; the rest is counted."""

SHOWN_CLASSES = 8
"""Classes that a message names; the rest is counted."""

ENOUGH_MASKS = 8
"""Masks from which on it is not chance that each holds a single class."""


def index_splits(layout: Layout, data: Path) -> tuple[dict[str, DatasetIndex], list[Finding]]:
    """Find the files of every split.

    Returns:
        The index of each split that is there, by its name, and findings about those that are not.

    Raises:
        DataError: There is no split "train".
    """
    indexes = {"train": layout.index(data, "train")}
    findings = []
    for split in layout.splits:
        try:
            indexes[split] = layout.index(data, split)
        except LayoutNotFoundError as fault:
            # Other splits are optional; training requires "val".
            if split == "val":
                sentence = (
                    "there is no split 'val', which training requires: move a fifth of the images"
                    f" and masks there ({fault})"
                )
                findings.append(
                    Finding(kind="no split", severity="error", sentence=sentence, split=split)
                )
        except DataError as fault:
            findings.append(
                Finding(kind="unreadable", severity="error", sentence=str(fault), split=split)
            )
    return with_all_bands(indexes), findings


def unpaired_files(index: DatasetIndex) -> list[Finding]:
    """Find files without a counterpart."""
    return [
        error(
            "unpaired",
            path,
            f"{path} has no counterpart of the same name; add it or remove the file",
        )
        for path in index.unpaired
    ]


def summarize(index: DatasetIndex, summaries: Sequence[ImageSummary]) -> SplitStatistics:
    """Return the statistics of a split whose images were read."""
    total = StatisticsAccumulator(index.classes)
    for summary in summaries:
        total.add_image(summary.size, summary.moments)
        if summary.counts is not None:
            total.add_mask(summary.counts)
    return total.statistics()


def compute_statistics(samples: Dataset, *, on_step: Callable[[str], None]) -> SplitStatistics:
    """Read all samples of any dataset, on all cores, and return their statistics.

    Args:
        samples: One split.
        on_step: Called after each sample, with its name.

    Raises:
        DataError: A sample cannot be used.
    """
    total = StatisticsAccumulator(samples.classes)
    is_color = holds_colors(samples)

    def read(index: int) -> tuple[tuple[int, int], Moments, Counts]:
        sample = samples[index]
        height, width = sample.image.shape[:2]
        return (height, width), moments(sample.image, is_color=is_color), count(sample.mask)

    values = map_in_order(read, range(len(samples)))
    for name, (size, sums, counts) in zip(samples.names, values, strict=True):
        total.add_image(size, sums)
        total.add_mask(counts)
        on_step(name)
    return total.statistics()


def absent_classes(statistics: SplitStatistics) -> Iterator[Finding]:
    """Find classes that never occur; a split without masks has none."""
    if not statistics.masks:
        return
    present = [entry.name for entry in statistics.classes if entry.pixels]
    absent = [entry.name for entry in statistics.classes if not entry.pixels]
    if not present:
        yield Finding(
            kind="nothing labeled",
            severity="error",
            sentence="no pixel of any mask is labeled; compare the ids in the masks with the"
            " dataset's classes",
        )
    elif len(present) == 1:
        sentence = (
            f"every labeled pixel is {present[0]!r}, so there is nothing to"
            f" distinguish{_unlabeled(statistics)}; compare the ids in the masks with the"
            " dataset's classes, or with classes.toml"
        )
        yield Finding(kind="one class", severity="error", sentence=sentence)
    elif absent:
        rest = f" and {len(absent) - SHOWN_CLASSES} more" if len(absent) > SHOWN_CLASSES else ""
        sentence = (
            f"no pixel is labeled {', '.join(absent[:SHOWN_CLASSES])}{rest}; such a class is"
            f" neither learned nor scored{_unlabeled(statistics)}"
        )
        yield Finding(kind="absent class", severity="warning", sentence=sentence)


def _unlabeled(statistics: SplitStatistics) -> str:
    """Return the share of the value 255, which in masks of 0 and 255 may be meant for a class."""
    share = 1 - statistics.labeled
    return f" ({share:.0%} of the pixels are 255, which means not labeled)" if share > 0 else ""


def single_class_masks(summaries: Sequence[ImageSummary]) -> Iterator[Finding]:
    """Find out whether each mask holds a single class while the split holds several.

    That is how labels of whole images look when they are stored as masks.
    """
    classes = [
        frozenset(np.flatnonzero(summary.counts[:IGNORE_INDEX]).tolist())
        for summary in summaries
        if summary.counts is not None
    ]
    labeled = [found for found in classes if found]
    if len(labeled) < ENOUGH_MASKS or len(set(labeled)) < 2:
        return
    if all(len(found) == 1 for found in labeled):
        sentence = (
            f"each of the {len(labeled)} masks holds a single class; boundaries are learned from"
            " masks with at least two: label the surroundings too"
        )
        yield Finding(kind="no edges", severity="error", sentence=sentence)


def leaks(summaries: Sequence[ImageSummary], others: Sequence[ImageSummary]) -> list[Finding]:
    """Find images of one split that are in another, or nearly so.

    Args:
        summaries: Images of one split.
        others: Images of the other, whose model is scored on the first.
    """
    if not summaries or not others:
        return []
    index, bits = nearest(
        np.stack([summary.bits for summary in summaries]),
        np.stack([other.bits for other in others]),
    )
    by_digest = {other.digest: other for other in others}
    copies: list[tuple[ImageSummary, ImageSummary]] = []
    near: list[tuple[ImageSummary, ImageSummary]] = []
    for summary, place, distance in zip(summaries, index.tolist(), bits.tolist(), strict=True):
        if summary.digest in by_digest:
            copies.append((summary, by_digest[summary.digest]))
        elif distance <= NEAR:
            near.append((summary, others[place]))
    names = [summary.pair.name for summary in summaries]
    other_names = [other.pair.name for other in others]
    shared = _shared_sequences(shared_sequences(names, other_names, index))
    return [
        *_copies(copies),
        *_near_duplicates(near),
        *(shared or views_on_both_sides(names, other_names)),
    ]


def views_on_both_sides(names: Sequence[str], others: Sequence[str]) -> list[Finding]:
    """Find scenes, an object with its views or a drive, that names tell to be in two splits."""
    shared = shared_scenes(names, others)
    if not shared:
        return []
    sentence = (
        f"views of one object or scene ({_listed(shared)}) are in two splits by their names; keep"
        " all views of one in the same split, or the scores are too high"
    )
    return [Finding(kind="shared scene", severity="warning", sentence=sentence)]


def _copies(pairs: Sequence[tuple[ImageSummary, ImageSummary]]) -> list[Finding]:
    if not pairs:
        return []
    sentence = (
        f"{_names(pairs[0])} are the same image in two splits; remove one, since scores on images"
        " of the training prove nothing"
    )
    return [Finding(kind="copy", severity="error", sentence=sentence, files=_files(pairs))]


def _near_duplicates(pairs: Sequence[tuple[ImageSummary, ImageSummary]]) -> list[Finding]:
    if not pairs:
        return []
    sentence = (
        f"{_names(pairs[0])} are nearly the same image in two splits; keep such images in one"
        " split, or the scores are too high"
    )
    return [
        Finding(kind="near-duplicate", severity="warning", sentence=sentence, files=_files(pairs))
    ]


def _shared_sequences(shared: Sequence[str]) -> list[Finding]:
    if not shared:
        return []
    sentence = (
        f"frames of one drive or series ({_listed(shared)}) are in two splits and look alike; split"
        " by drive, or the scores are too high"
    )
    return [Finding(kind="shared drive", severity="warning", sentence=sentence)]


def _listed(prefixes: Sequence[str]) -> str:
    names = ", ".join(f"{prefix}*" for prefix in prefixes[:SHOWN_SEQUENCES])
    more = len(prefixes) - SHOWN_SEQUENCES
    return f"{names} and {more} more" if more > 0 else names


def _names(pair: tuple[ImageSummary, ImageSummary]) -> str:
    return f"{pair[0].pair.image} and {pair[1].pair.image}"


def _files(pairs: Sequence[tuple[ImageSummary, ImageSummary]]) -> tuple[Path, ...]:
    return tuple(path for one, other in pairs for path in (one.pair.image, other.pair.image))
