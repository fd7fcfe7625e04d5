"""What can be wrong with a split, and between splits."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from segdeploy.arrays import IGNORE_INDEX
from segdeploy.datasets.checks.duplicates import NEAR, nearest, shared_sequences
from segdeploy.datasets.checks.finding import Finding, error
from segdeploy.datasets.checks.sample import ImageSummary
from segdeploy.datasets.checks.statistics import Counts, Figures, Moments, Tally, count, moments
from segdeploy.datasets.dataset import Dataset
from segdeploy.datasets.index import DatasetIndex, Layout
from segdeploy.errors import AbsentError, DataError
from segdeploy.system.concurrency import in_threads

SHOWN_NAMES = 5


def leaks(portraits: Sequence[ImageSummary], others: Sequence[ImageSummary]) -> list[Finding]:
    """Compare the images of two splits, of which one is judged by the other."""
    if not portraits or not others:
        return []
    index, bits = nearest(
        np.stack([one.bits for one in portraits]), np.stack([one.bits for one in others])
    )
    digests = {one.digest: one for one in others}
    copies = [(one, digests[one.digest]) for one in portraits if one.digest in digests]
    pairs = zip(portraits, index.tolist(), bits.tolist(), strict=True)
    near = [
        (one, others[place])
        for one, place, distance in pairs
        if distance <= NEAR and one.digest not in digests
    ]
    shared = shared_sequences(
        [one.pair.name for one in portraits], [one.pair.name for one in others], index
    )
    return [*_copies(copies), *_near(near), *_drives(shared)]


def _copies(found: Sequence[tuple[ImageSummary, ImageSummary]]) -> list[Finding]:
    if not found:
        return []
    sentence = (
        f"{_both(found[0])} are the same image in two splits; remove one, for learned images"
        " prove nothing"
    )
    return [Finding(kind="copy", severity="error", sentence=sentence, files=_files(found))]


def _near(found: Sequence[tuple[ImageSummary, ImageSummary]]) -> list[Finding]:
    if not found:
        return []
    sentence = (
        f"{_both(found[0])} are nearly the same image in two splits; keep such images in one"
        " split, or the scores flatter"
    )
    return [
        Finding(kind="near-duplicate", severity="warning", sentence=sentence, files=_files(found))
    ]


def _drives(shared: Sequence[str]) -> list[Finding]:
    if not shared:
        return []
    rest = f" and {len(shared) - SHOWN} more" if len(shared) > SHOWN_NAMES else ""
    names = ", ".join(f"{prefix}*" for prefix in shared[:SHOWN_NAMES])
    sentence = (
        f"frames of one drive or series ({names}{rest}) lie in two splits and are alike; split by"
        " drive, or the scores flatter"
    )
    return [Finding(kind="shared drive", severity="warning", sentence=sentence)]


def _both(pair: tuple[ImageSummary, ImageSummary]) -> str:
    return f"{pair[0].pair.image} and {pair[1].pair.image}"


def _files(found: Sequence[tuple[ImageSummary, ImageSummary]]) -> tuple[Path, ...]:
    return tuple(path for one, other in found for path in (one.pair.image, other.pair.image))


SHOWN = 8
ENOUGH = 8
"""Masks from which on it is no chance that each holds one class alone."""


def survey_all(layout: Layout, data: Path) -> tuple[dict[str, DatasetIndex], list[Finding]]:
    """Find the files of every split.

    Returns:
        The splits that are there, by name, and what is to be known of those that are not.

    Raises:
        DataError: There is no split "train".
    """
    surveys = {"train": layout.survey(data, "train")}
    findings = []
    for split in layout.splits:
        try:
            surveys[split] = layout.survey(data, split)
        except AbsentError as fault:
            # Further splits are nobody's need; without "val" nobody can train.
            if split == "val":
                sentence = (
                    "there is no split 'val', without which no training begins: move a fifth of"
                    f" the images and masks there ({fault})"
                )
                findings.append(
                    Finding(kind="no split", severity="error", sentence=sentence, split=split)
                )
        except DataError as fault:
            findings.append(
                Finding(kind="unreadable", severity="error", sentence=str(fault), split=split)
            )
    return surveys, findings


def unpaired(survey: DatasetIndex) -> list[Finding]:
    """Find files without counterpart."""
    return [
        error("unpaired", path, f"{path} has no counterpart of its name; add it or remove the file")
        for path in survey.lonely
    ]


def tally(survey: DatasetIndex, portraits: Sequence[ImageSummary]) -> Figures:
    """Return the figures of a split."""
    total = Tally(survey.classes)
    for portrait in portraits:
        total.add_image(portrait.size, portrait.moments)
        if portrait.counts is not None:
            total.add_mask(portrait.counts)
    return total.figures()


def measure(samples: Dataset, *, on_step: Callable[[str], None]) -> Figures:
    """Read all samples of any dataset, on all cores, and give their figures.

    Args:
        samples: One split.
        on_step: Called after each sample, with its name.

    Raises:
        DataError: A sample cannot be used.
    """
    total = Tally(samples.classes)

    def read(index: int) -> tuple[tuple[int, int], Moments, Counts]:
        sample = samples[index]
        return (
            (sample.image.shape[0], sample.image.shape[1]),
            moments(sample.image),
            count(sample.mask),
        )

    for name, (size, sums, counts) in zip(
        samples.names, in_threads(read, range(len(samples))), strict=True
    ):
        total.add_image(size, sums)
        total.add_mask(counts)
        on_step(name)
    return total.figures()


def imbalance(figures: Figures) -> Iterator[Finding]:
    """Find classes that never occur; a split without truth has none."""
    present = [entry.name for entry in figures.classes if entry.pixels]
    names = [entry.name for entry in figures.classes if not entry.pixels]
    if not figures.masks:
        return
    if len(names) == len(figures.classes):
        yield Finding(
            kind="nothing labeled",
            severity="error",
            sentence="no pixel of any mask is labeled; look at the ids that the masks hold",
        )
    elif len(present) == 1:
        what = (
            f"every labeled pixel is {present[0]!r}, so that there is nothing to tell"
            f" apart{_hint(figures)}"
        )
        yield Finding(
            kind="one class",
            severity="error",
            sentence=f"{what}; look at the ids that the masks hold, and at classes.toml",
        )
    elif names:
        rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        sentence = (
            f"no pixel is labeled {', '.join(names[:SHOWN])}{rest}; such a class is neither"
            f" learned nor scored{_hint(figures)}"
        )
        yield Finding(kind="absent class", severity="warning", sentence=sentence)


def edgeless(portraits: Sequence[ImageSummary]) -> Iterator[Finding]:
    """Find out whether each mask holds one class alone while the split holds several, as labels of whole images would."""
    kinds = [
        frozenset(np.flatnonzero(one.counts[:IGNORE_INDEX]).tolist())
        for one in portraits
        if one.counts is not None
    ]
    labelled = [kind for kind in kinds if kind]
    if (
        len(labelled) >= ENOUGH
        and all(len(kind) == 1 for kind in labelled)
        and len(set(labelled)) > 1
    ):
        sentence = (
            f"each of the {len(labelled)} masks holds one class alone; outlines are learned from"
            " masks that hold two at least"
        )
        yield Finding(
            kind="no edges", severity="error", sentence=f"{sentence}: label what lies around"
        )


def _hint(figures: Figures) -> str:
    """Report of the value 255 where it may be meant for a class: masks of 0 and 255 are common."""
    share = 1 - figures.labelled
    return f" ({share:.0%} of the pixels are 255, which means not labeled)" if share > 0 else ""
