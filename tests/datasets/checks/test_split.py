"""Findings between two splits, and what they name."""

from pathlib import Path

import numpy as np

from segdeploy.datasets.checks.sample import ImageSummary
from segdeploy.datasets.checks.split import leaks
from segdeploy.datasets.index import Pair

DRIVES = 7


def frame(drive: int, number: int) -> ImageSummary:
    """A frame that resembles those of its drive, but is not a near-duplicate of another's."""
    bits = np.random.default_rng(drive).integers(0, 2**63, 4, dtype=np.uint64)
    bits ^= np.uint64(2 ** (number % 60))
    return ImageSummary(
        pair=Pair(
            name=f"drive{drive}_{number:03d}", image=Path(f"{drive}_{number}.png"), mask=None
        ),
        size=(1, 1),
        moments=np.zeros((3, 3)),
        bits=bits,
        digest=bytes([drive, number]),
        counts=None,
    )


def test_message_names_five_sequences_and_counts_the_rest() -> None:
    """Five of seven are named, so two remain."""
    train = [frame(drive, number) for drive in range(DRIVES) for number in range(6)]
    val = [frame(drive, number) for drive in range(DRIVES) for number in range(20, 26)]

    findings = {finding.kind: finding for finding in leaks(val, train)}

    sentence = findings["shared drive"].sentence
    assert "(drive0_*, drive1_*, drive2_*, drive3_*, drive4_* and 2 more)" in sentence


def test_split_without_images_leaks_nothing() -> None:
    """All of its images may be damaged."""
    assert leaks([], [frame(0, 0)]) == leaks([frame(0, 0)], []) == []
