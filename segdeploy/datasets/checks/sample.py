"""Check of one image and its mask, and what is kept of them to compare images later."""

import hashlib
from dataclasses import dataclass

import numpy as np

from segdeploy.arrays import Image
from segdeploy.datasets.bands import holds_colors
from segdeploy.datasets.checks.duplicates import Bits, perceptual_hash
from segdeploy.datasets.checks.finding import Finding, error
from segdeploy.datasets.checks.mask import mask_faults, unreadable_mask
from segdeploy.datasets.checks.statistics import Counts, Moments, count, moments
from segdeploy.datasets.index import DatasetIndex, Pair
from segdeploy.errors import DataError
from segdeploy.imaging.contrast import as_color


@dataclass(frozen=True, kw_only=True)
class ImageSummary:
    """What is kept of an image after it was read.

    Attributes:
        pair: Its files.
        size: Its height and width, in pixels.
        moments: Sums over its pixels.
        bits: Its perceptual hash.
        digest: Hash of its pixels; equal where two images are identical.
        counts: Pixels of each class in its mask; None without a readable mask.
    """

    pair: Pair
    size: tuple[int, int]
    moments: Moments
    bits: Bits
    digest: bytes
    counts: Counts | None


@dataclass(frozen=True, kw_only=True)
class SampleCheck:
    """Result of the check of one sample.

    Attributes:
        findings: What is wrong with the image or its mask.
        summary: None where the image cannot be read.
    """

    findings: tuple[Finding, ...]
    summary: ImageSummary | None


def check_sample(index: DatasetIndex, pair: Pair) -> SampleCheck:
    """Read an image of a split and its mask, once, and check them."""
    try:
        image = index.read(pair.image)
    except DataError as fault:
        return SampleCheck(findings=(error("unreadable", pair.image, str(fault)),), summary=None)
    visible = as_color(image)
    counts, findings = _check_mask(index, pair, visible)
    summary = ImageSummary(
        pair=pair,
        size=(image.shape[0], image.shape[1]),
        moments=moments(image, is_color=holds_colors(index)),
        bits=perceptual_hash(visible),
        digest=hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest(),
        counts=counts,
    )
    return SampleCheck(findings=findings, summary=summary)


def _check_mask(
    index: DatasetIndex, pair: Pair, image: Image
) -> tuple[Counts | None, tuple[Finding, ...]]:
    """Return the pixels of each class in the mask of an image, and what is wrong with the mask."""
    if pair.mask is None:
        return None, ()
    try:
        mask = index.mask_format.read(pair)
    except DataError as fault:
        if pair.mask == pair.image:
            return None, (error("no mask", pair.image, str(fault)),)
        return None, (unreadable_mask(pair.mask, str(fault), index.classes),)
    faults = mask_faults(pair.mask, mask, image, image_path=pair.image, classes=index.classes)
    return count(mask), tuple(faults)
