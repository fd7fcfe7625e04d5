"""The full check and the quick check of a dataset."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from segdeploy.datasets.checks.finding import Finding, error, merged
from segdeploy.datasets.checks.mask import other_size, read_header, turned
from segdeploy.datasets.checks.sample import ImageSummary, look_at
from segdeploy.datasets.checks.split import edgeless, imbalance, leaks, tally, unpaired
from segdeploy.datasets.checks.statistics import Figures
from segdeploy.datasets.dataset import evenly_spaced
from segdeploy.datasets.index import DatasetIndex, Pair
from segdeploy.errors import DataError
from segdeploy.imaging.io import ENDINGS, read_image
from segdeploy.system.concurrency import in_threads

SAMPLE = 16
"""Images of each split that are read."""


def quick_check(surveys: Mapping[str, DatasetIndex]) -> list[Finding]:
    """Find what can be found in a second or two.

    Args:
        surveys: The files of each split.
    """
    findings: list[Finding] = []
    for split, survey in surveys.items():
        looks = in_threads(partial(look_at, survey), [survey.pairs[index] for index in evenly_spaced(len(survey.pairs), SAMPLE)])
        found = merged(
            [
                *unpaired(survey),
                *sizes(survey),
                *(finding for look in looks for finding in look.findings),
            ],
            split,
        )
        findings += found
    return findings


def sizes(survey: DatasetIndex) -> Iterator[Finding]:
    """Find images and masks whose headers tell different sizes, or that are no images at all.

    Where image and truth share a file, or truth lies in a text, headers say nothing of it.
    """
    if survey.read is not read_image:
        return
    for found in in_threads(_compare, survey.pairs):
        yield from found


def _compare(pair: Pair) -> list[Finding]:
    image = read_header(pair.image)
    if image is None:
        return _unreadable(pair.image)
    if pair.mask is None or pair.mask.suffix.lower() not in ENDINGS:
        return []
    mask = read_header(pair.mask)
    if mask is None:
        return _unreadable(pair.mask)
    stored = (mask.height, mask.width)
    if stored == image.upright:
        return []
    if stored == (image.height, image.width):
        return [turned(pair.mask, pair.image, image.orientation)]
    return [other_size(pair.mask, stored, image.upright)]


def _unreadable(path: Path) -> list[Finding]:
    """Let the reader say what is wrong with a file whose header says nothing."""
    try:
        read_image(path)
    except DataError as fault:
        return [error("unreadable", path, str(fault))]
    return []


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a check found.

    Attributes:
        findings: What is wrong, split by split, errors first in each.
        figures: Figures of each split.
    """

    findings: tuple[Finding, ...]
    figures: Mapping[str, Figures]

    @property
    def errors(self) -> Sequence[Finding]:
        """The findings that would spoil training."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them."""
        return {
            "errors": len(self.errors),
            "warnings": len(self.findings) - len(self.errors),
            "findings": [finding.to_dict() for finding in self.findings],
            "figures": {split: figures.to_dict() for split, figures in self.figures.items()},
        }


def check(surveys: Mapping[str, DatasetIndex], *, on_step: Callable[[str], None]) -> Report:
    """Check every file of a dataset, once.

    Args:
        surveys: The files of each split.
        on_step: Called after each image, with its name.
    """
    findings: list[Finding] = []
    figures: dict[str, Figures] = {}
    portraits: dict[str, Sequence[ImageSummary]] = {}
    for split, survey in surveys.items():
        found, portraits[split] = _look_through(survey, on_step)
        figures[split] = tally(survey, portraits[split])
        whole = [*imbalance(figures[split]), *edgeless(portraits[split])]
        findings += merged([*unpaired(survey), *found, *whole], split)
    for split, later in combinations(surveys, 2):
        findings += merged(leaks(portraits[later], portraits[split]), f"{split}, {later}")
    return Report(findings=tuple(findings), figures=figures)


def _look_through(
    survey: DatasetIndex, on_step: Callable[[str], None]
) -> tuple[list[Finding], list[ImageSummary]]:
    findings: list[Finding] = []
    portraits: list[ImageSummary] = []
    for pair, look in zip(
        survey.pairs, in_threads(partial(look_at, survey), survey.pairs), strict=True
    ):
        on_step(pair.name)
        findings += look.findings
        if look.portrait is not None:
            portraits.append(look.portrait)
    return findings, portraits
