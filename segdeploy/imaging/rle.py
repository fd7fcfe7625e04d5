"""Masks as run lengths, as COCO stores them (Lin et al., ECCV 2014).

Runs go down the columns from the left to the right, outside and inside in turn. COCO calls their
lengths "counts".
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segdeploy.arrays import Mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """A mask as runs of one value each.

    Attributes:
        height: Height of the mask, in pixels.
        width: Width of the mask, in pixels.
        starts: Index of the first pixel of each run, (n,), counted down the columns.
        values: Value of each run, (n,) uint8, different from that of the run before.
    """

    height: int
    width: int
    starts: npt.NDArray[np.intp]
    values: Mask

    def lengths(self, value: int) -> list[int]:
        """Return the lengths of the runs outside, inside, outside ... of one value.

        They add up to height * width; the first one is 0 where the first pixel is inside.
        """
        ends = np.append(self.starts[1:], self.height * self.width)
        inside = self.values == value
        edges = np.stack([self.starts[inside], ends[inside]], axis=1).ravel()
        lengths = np.diff(edges, prepend=0, append=self.height * self.width)
        return [int(length) for length in (lengths if lengths[-1] else lengths[:-1])]


def find_runs(mask: Mask) -> Runs:
    """Return the runs of a mask, (H, W) uint8, of at least one pixel."""
    column_by_column = mask.ravel(order="F")
    starts = np.concatenate(
        [[0], np.flatnonzero(column_by_column[1:] != column_by_column[:-1]) + 1]
    )
    return Runs(
        height=mask.shape[0], width=mask.shape[1], starts=starts, values=column_by_column[starts]
    )


def encode_counts(lengths: list[int]) -> str:
    """Return run lengths as text, as pycocotools writes it.

    Characters are groups of five bits, from "0" on; from the fourth length on only the difference
    from the last but one is written.
    """
    letters: list[str] = []
    for index, length in enumerate(lengths):
        rest = length - lengths[index - 2] if index > 2 else length
        while True:
            bits, rest = rest & 31, rest >> 5
            # The fifth bit is the sign once no more bits follow.
            last = rest == (-1 if bits & 16 else 0)
            letters.append(chr(48 + (bits if last else bits | 32)))
            if last:
                break
    return "".join(letters)


def decode_counts(text: str) -> list[int]:
    """Return the run lengths of a text that `encode_counts` or pycocotools wrote.

    Raises:
        ValueError: It is no such text.
    """
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            msg = f"{letter!r} is not a letter of packed run lengths there"
            raise ValueError(msg)
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


def fill_runs(mask: Mask, lengths: list[int], value: int) -> None:
    """Write a value into every second run of pixels, down the columns from left to right.

    Args:
        mask: (H, W) uint8, written into.
        lengths: Pixels outside, inside, outside ..., H * W in all.
        value: Value that is written.

    Raises:
        ValueError: A length is negative, or their sum is not H * W.
    """
    if (least := min(lengths, default=0)) < 0:
        msg = f"a run length is {least}"
        raise ValueError(msg)
    if sum(lengths) != mask.size:
        msg = f"the run lengths cover {sum(lengths)} pixels of {mask.size}"
        raise ValueError(msg)
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(mask.shape[::-1]).T
    mask[inside] = value
