"""What can be wrong with one image and its mask."""

import hashlib
from dataclasses import dataclass

import numpy as np

from segdeploy.arrays import Image
from segdeploy.datasets.checks.duplicates import Bits, perceptual_hash
from segdeploy.datasets.checks.finding import Finding, error
from segdeploy.datasets.checks.mask import mask_faults, why_unread
from segdeploy.datasets.checks.statistics import Counts, Moments, count, moments
from segdeploy.datasets.index import DatasetIndex, Pair
from segdeploy.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ImageSummary:
    """What is kept of an image.

    Attributes:
        pair: Its files.
        size: Its height and width, in pixels.
        moments: Sums over its pixels.
        bits: Its perceptual hash.
        digest: Alike where two images have the very same pixels.
        counts: How many pixels of its mask have each value; None without a mask that can be read.
    """

    pair: Pair
    size: tuple[int, int]
    moments: Moments
    bits: Bits
    digest: bytes
    counts: Counts | None


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look gave.

    Attributes:
        findings: What is wrong with the image or its truth.
        portrait: None where the image cannot be read.
    """

    findings: tuple[Finding, ...]
    portrait: ImageSummary | None


def look_at(survey: DatasetIndex, pair: Pair) -> Look:
    """Read an image of a split and its truth, once."""
    try:
        picture = survey.read(pair.image)
    except DataError as fault:
        return Look(findings=(error("unreadable", pair.image, str(fault)),), portrait=None)
    counts, findings = _look_at_truth(survey, pair, picture)
    portrait = ImageSummary(
        pair=pair,
        size=(picture.shape[0], picture.shape[1]),
        moments=moments(picture),
        bits=perceptual_hash(picture),
        digest=hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16).digest(),
        counts=counts,
    )
    return Look(findings=findings, portrait=portrait)


def _look_at_truth(
    survey: DatasetIndex, pair: Pair, picture: Image
) -> tuple[Counts | None, tuple[Finding, ...]]:
    if pair.mask is None:
        return None, ()
    try:
        mask = survey.truth.read(pair)
    except DataError as fault:
        if pair.mask == pair.image:
            return None, (error("no truth", pair.image, str(fault)),)
        return None, (why_unread(pair.mask, str(fault), survey.classes),)
    return count(mask), tuple(
        mask_faults(pair.mask, mask, picture, image=pair.image, classes=survey.classes)
    )
