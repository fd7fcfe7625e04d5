"""What two splits share and should not: copies, near-duplicates, and frames of one drive."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segdeploy.checks.finding import Finding
from segdeploy.checks.likeness import NEAR, nearest, shared_sequences
from segdeploy.checks.look import Portrait

SHOWN = 5


def leaks(portraits: Sequence[Portrait], others: Sequence[Portrait]) -> list[Finding]:
    """Compare the pictures of two splits, of which one is judged by the other."""
    if not portraits or not others:
        return []
    index, bits = nearest(np.stack([one.bits for one in portraits]), np.stack([one.bits for one in others]))
    digests = {one.digest: one for one in others}
    copies = [(one, digests[one.digest]) for one in portraits if one.digest in digests]
    pairs = zip(portraits, index.tolist(), bits.tolist(), strict=True)
    near = [(one, others[place]) for one, place, distance in pairs if distance <= NEAR and one.digest not in digests]
    shared = shared_sequences([one.pair.name for one in portraits], [one.pair.name for one in others], index)
    return [*_copies(copies), *_near(near), *_drives(shared)]


def _copies(found: Sequence[tuple[Portrait, Portrait]]) -> list[Finding]:
    if not found:
        return []
    sentence = f"{_both(found[0])} are the same picture in two splits; remove one, for learned pictures prove nothing"
    return [Finding(kind="copy", severity="error", sentence=sentence, files=_files(found))]


def _near(found: Sequence[tuple[Portrait, Portrait]]) -> list[Finding]:
    if not found:
        return []
    sentence = f"{_both(found[0])} are nearly the same picture in two splits; keep such pictures in one split, or the scores flatter"
    return [Finding(kind="near-duplicate", severity="warning", sentence=sentence, files=_files(found))]


def _drives(shared: Sequence[str]) -> list[Finding]:
    if not shared:
        return []
    rest = f" and {len(shared) - SHOWN} more" if len(shared) > SHOWN else ""
    names = ", ".join(f"{prefix}*" for prefix in shared[:SHOWN])
    sentence = f"frames of one drive or series ({names}{rest}) lie in two splits and are alike; split by drive, or the scores flatter"
    return [Finding(kind="shared drive", severity="warning", sentence=sentence)]


def _both(pair: tuple[Portrait, Portrait]) -> str:
    return f"{pair[0].pair.image} and {pair[1].pair.image}"


def _files(found: Sequence[tuple[Portrait, Portrait]]) -> tuple[Path, ...]:
    return tuple(path for one, other in found for path in (one.pair.image, other.pair.image))
