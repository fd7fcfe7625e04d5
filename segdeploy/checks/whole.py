"""A data set checked from end to end: every file is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

from segdeploy.checks.between import leaks
from segdeploy.checks.figures import Figures
from segdeploy.checks.finding import Finding, merged
from segdeploy.checks.look import Portrait, look_at
from segdeploy.checks.split import edgeless, imbalance, tally, unpaired
from segdeploy.datasets.layout import Survey
from segdeploy.parallel import in_threads


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
        """Give the values as JSON knows them."""
        return {
            "errors": len(self.errors),
            "warnings": len(self.findings) - len(self.errors),
            "findings": [finding.to_dict() for finding in self.findings],
            "figures": {split: figures.to_dict() for split, figures in self.figures.items()},
        }


def check(surveys: Mapping[str, Survey], *, on_step: Callable[[str], None]) -> Report:
    """Check every file of a data set, once.

    Args:
        surveys: The files of each split.
        on_step: Called after each picture, with its name.
    """
    findings: list[Finding] = []
    figures: dict[str, Figures] = {}
    portraits: dict[str, Sequence[Portrait]] = {}
    for split, survey in surveys.items():
        found, portraits[split] = _look_through(survey, on_step)
        figures[split] = tally(survey, portraits[split])
        whole = [*imbalance(figures[split]), *edgeless(portraits[split])]
        findings += merged([*unpaired(survey), *found, *whole], split)
    for split, later in combinations(surveys, 2):
        findings += merged(leaks(portraits[later], portraits[split]), f"{split}, {later}")
    return Report(findings=tuple(findings), figures=figures)


def _look_through(survey: Survey, on_step: Callable[[str], None]) -> tuple[list[Finding], list[Portrait]]:
    findings: list[Finding] = []
    portraits: list[Portrait] = []
    for pair, look in zip(survey.pairs, in_threads(partial(look_at, survey), survey.pairs), strict=True):
        on_step(pair.name)
        findings += look.findings
        if look.portrait is not None:
            portraits.append(look.portrait)
    return findings, portraits
