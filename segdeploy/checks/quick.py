"""The quick form of the check, which training begins with: names, sizes from the files' headers, and a few pictures read."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from segdeploy.checks.finding import Finding, error, merged
from segdeploy.checks.header import read_header
from segdeploy.checks.look import look_at
from segdeploy.checks.mask import other_size, turned
from segdeploy.checks.split import unpaired
from segdeploy.datasets.layout import Pair, Survey
from segdeploy.errors import DataError
from segdeploy.parallel import in_threads
from segdeploy.pictures import ENDINGS, read_picture

SAMPLE = 16
"""Pictures of each split that are read."""


def quick_check(surveys: Mapping[str, Survey]) -> list[Finding]:
    """Find what can be found in a second or two.

    Args:
        surveys: The files of each split.
    """
    findings: list[Finding] = []
    for split, survey in surveys.items():
        looks = in_threads(partial(look_at, survey), spread(survey.pairs))
        found = merged([*unpaired(survey), *sizes(survey), *(finding for look in looks for finding in look.findings)], split)
        findings += found
    return findings


def spread(pairs: Sequence[Pair]) -> list[Pair]:
    """Take some pairs evenly from all."""
    taken = min(SAMPLE, len(pairs))
    return [pairs[number * len(pairs) // taken] for number in range(taken)]


def sizes(survey: Survey) -> Iterator[Finding]:
    """Find pictures and masks whose headers tell different sizes, or that are no pictures at all.

    Where picture and truth share a file, or truth lies in a text, headers say nothing of it.
    """
    if survey.read_image is not read_picture:
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
        read_picture(path)
    except DataError as fault:
        return [error("unreadable", path, str(fault))]
    return []
