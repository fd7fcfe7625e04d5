"""Check of a dataset: the full one reads every file, the quick one a few of each split."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from segdeploy.datasets.checks.finding import Finding, error, merge
from segdeploy.datasets.checks.mask import orientation_fault, read_header, size_fault
from segdeploy.datasets.checks.sample import ImageSummary, check_sample
from segdeploy.datasets.checks.split import (
    absent_classes,
    leaks,
    single_class_masks,
    summarize,
    unpaired_files,
    views_on_both_sides,
)
from segdeploy.datasets.checks.statistics import SplitStatistics
from segdeploy.datasets.dataset import evenly_spaced
from segdeploy.datasets.index import DatasetIndex, Pair
from segdeploy.errors import DataError
from segdeploy.imaging.io import EXTENSIONS, read_image
from segdeploy.system.concurrency import map_in_order

QUICK_SAMPLES = 16
"""Images of each split that the quick check reads."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Result of a check.

    Attributes:
        findings: What is wrong, split by split, errors first in each.
        statistics: Statistics of each split.
    """

    findings: tuple[Finding, ...]
    statistics: Mapping[str, SplitStatistics]

    @property
    def errors(self) -> Sequence[Finding]:
        """The findings that would harm training."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def to_dict(self) -> dict[str, Any]:
        """Return the values as `data check --json` prints them."""
        return {
            "errors": len(self.errors),
            "warnings": len(self.findings) - len(self.errors),
            "findings": [finding.to_dict() for finding in self.findings],
            "figures": {split: values.to_dict() for split, values in self.statistics.items()},
        }


def check(indexes: Mapping[str, DatasetIndex], *, on_step: Callable[[str], None]) -> CheckReport:
    """Check every file of a dataset, reading each once.

    Args:
        indexes: Files of each split, by its name.
        on_step: Called after each image, with its name.
    """
    findings: list[Finding] = []
    statistics: dict[str, SplitStatistics] = {}
    summaries: dict[str, Sequence[ImageSummary]] = {}
    for split, index in indexes.items():
        faults, summaries[split] = _check_samples(index, on_step)
        statistics[split] = summarize(index, summaries[split])
        faults += [*absent_classes(statistics[split]), *single_class_masks(summaries[split])]
        findings += merge([*unpaired_files(index), *faults], split)
    for split, later in combinations(indexes, 2):
        findings += merge(leaks(summaries[later], summaries[split]), f"{split}, {later}")
    return CheckReport(findings=tuple(findings), statistics=statistics)


def _check_samples(
    index: DatasetIndex, on_step: Callable[[str], None]
) -> tuple[list[Finding], list[ImageSummary]]:
    """Check all samples of a split, on all cores."""
    findings: list[Finding] = []
    summaries: list[ImageSummary] = []
    checks = map_in_order(partial(check_sample, index), index.pairs)
    for pair, sample in zip(index.pairs, checks, strict=True):
        on_step(pair.name)
        findings += sample.findings
        if sample.summary is not None:
            summaries.append(sample.summary)
    return findings, summaries


def quick_check(indexes: Mapping[str, DatasetIndex]) -> list[Finding]:
    """Find what can be found in a second or two: names, sizes from headers, and a few images.

    Splits of so few images are checked as `check` does.

    Args:
        indexes: Files of each split, by its name.
    """
    small = {split: index for split, index in indexes.items() if len(index.pairs) <= QUICK_SAMPLES}
    findings = list(check(small, on_step=lambda _: None).findings)
    for split, index in indexes.items():
        if split in small:
            continue
        pairs = [index.pairs[place] for place in evenly_spaced(len(index.pairs), QUICK_SAMPLES)]
        faults = [*unpaired_files(index), *_header_faults(index)]
        for sample in map_in_order(partial(check_sample, index), pairs):
            faults += sample.findings
        findings += merge(faults, split)
    for split, later in combinations(indexes, 2):
        if {split, later} <= small.keys():
            continue
        names = ([pair.name for pair in indexes[side].pairs] for side in (later, split))
        findings += merge(views_on_both_sides(*names), f"{split}, {later}")
    return findings


def _header_faults(index: DatasetIndex) -> Iterator[Finding]:
    """Find images and masks whose headers give different sizes, or that are not images at all.

    Headers say nothing where image and mask share a file, or masks are drawn from JSON.
    """
    if index.read is not read_image:
        return
    for faults in map_in_order(_compare_headers, index.pairs):
        yield from faults


def _compare_headers(pair: Pair) -> list[Finding]:
    image = read_header(pair.image)
    if image is None:
        return _unreadable(pair.image)
    if pair.mask is None or pair.mask.suffix.lower() not in EXTENSIONS:
        return []
    mask = read_header(pair.mask)
    if mask is None:
        return _unreadable(pair.mask)
    stored = (mask.height, mask.width)
    if stored == image.upright:
        return []
    if stored == (image.height, image.width):
        return [orientation_fault(pair.mask, pair.image, image.orientation)]
    return [size_fault(pair.mask, stored, image.upright)]


def _unreadable(path: Path) -> list[Finding]:
    """Return what the reader says is wrong with a file whose header cannot be read."""
    try:
        read_image(path)
    except DataError as fault:
        return [error("unreadable", path, str(fault))]
    return []
