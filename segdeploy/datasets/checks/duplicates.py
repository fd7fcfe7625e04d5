"""Duplicates: how alike images are, by a perceptual hash of 256 bits each.

Near-duplicates, and frames of one drive on both sides of a split.
"""

from collections.abc import Sequence
from math import exp, lgamma, log

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Image
from segdeploy.datasets.split import scenes_of, sequence

Bits = npt.NDArray[np.uint64]
"""(4,) uint64: 256 bits of one image."""

THUMBNAIL = 64
FREQUENCIES = 16

NEAR = 40
"""Bits of 256 in which near-duplicates differ at most.

Measured: an image saved again as JPEG, halved or lightened differs in 0 to 32, the next frame of a
video at 25 fps in 3 to 32; different cars in one studio (Carvana) differ in 48 and more, different
synthetic streets in 62, different drives (CamVid, IDD) in 84.
"""

SIGNIFICANCE = 0.001
"""Probability below which it is not chance that images of one sequence are nearest to each
other."""

BLOCK = 256
"""Images that are compared with all others at once: with 10,000 others that takes 10 MB."""


def perceptual_hash(image: Image) -> Bits:
    """Return 256 bits that hardly change when an image is saved again, resized or lightened.

    Each bit says whether one of the 16x16 lowest frequencies of the gray thumbnail's cosine
    transform is above their median (pHash, Zauner 2010, section 3.2.1, with more frequencies: 64
    bits do not distinguish two cars in one studio).
    """
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    low = cv2.dct(gray)[:FREQUENCIES, :FREQUENCIES]
    return np.packbits(low > np.median(low)).view(np.uint64)


def nearest(
    hashes: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Return for each image the most similar one of the others.

    Every pair is compared, which is exact: 10,000 images with 10,000 take about a second.

    Args:
        hashes: (N, 4) bits of the images.
        others: (M, 4) bits of the others, M more than 0.

    Returns:
        Index of the nearest, (N,), and in how many bits it differs, (N,).
    """
    index = np.empty(len(hashes), np.intp)
    bits = np.empty(len(hashes), np.int64)
    for start in range(0, len(hashes), BLOCK):
        part = slice(start, start + BLOCK)
        distance = np.zeros((len(hashes[part]), len(others)), np.uint16)
        for word in range(hashes.shape[1]):
            distance += np.bitwise_count(hashes[part, word, None] ^ others[None, :, word])
        index[part] = distance.argmin(1)
        bits[part] = distance[np.arange(len(distance)), index[part]]
    return index, bits


def shared_sequences(
    names: Sequence[str], others: Sequence[str], nearest_other: npt.NDArray[np.intp]
) -> list[str]:
    """Return the sequences that are on both sides of a split, and whose images look alike.

    A name alone proves nothing ("img_001" here and "img_101" there), nor does similarity alone (any
    two streets are somewhat alike). So the nearest image of the other side must be of the same
    sequence more often than chance explains.

    Args:
        names: Names of the images of one side.
        others: Names of the images of the other side.
        nearest_other: For each image of one side the index of the nearest on the other.
    """
    ours = [sequence(name) for name in names]
    theirs = [sequence(name) for name in others]
    shared = []
    for prefix in sorted(set(ours) & set(theirs)):
        hits = [
            theirs[nearest_other[place]] == prefix
            for place, own in enumerate(ours)
            if own == prefix
        ]
        chance = theirs.count(prefix) / len(theirs)
        if at_least(sum(hits), of=len(hits), chance=chance) < SIGNIFICANCE:
            shared.append(prefix)
    return shared


def shared_scenes(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the scenes that are on both sides of a split by the names of the images.

    Args:
        names: Names of the images of one side.
        others: Names of the images of the other side.
    """
    both = [*names, *others]
    scenes = scenes_of(both)
    if scenes == both:
        return []
    return sorted(set(scenes[: len(names)]) & set(scenes[len(names) :]))


def at_least(hits: int, *, of: int, chance: float) -> float:
    """Return the probability of at least so many hits, the binomial distribution's upper tail.

    Args:
        hits: Number of hits.
        of: Number of independent trials.
        chance: Probability of a hit in one trial, more than 0.
    """
    if hits == 0 or chance >= 1:
        return 1.0

    def exactly(k: int) -> float:
        return exp(
            lgamma(of + 1)
            - lgamma(k + 1)
            - lgamma(of - k + 1)
            + k * log(chance)
            + (of - k) * log(1 - chance)
        )

    return sum(exactly(k) for k in range(hits, of + 1))
