"""The decompression budget: how much memory one file from outside may take once it is decoded.

A file of some kilobytes can declare an image or a tensor of many gigabytes. So readers add up the
sizes that a file declares, and compare them with the budget before they take memory for them.
"""

import os
import re
from functools import partial
from itertools import islice
from typing import BinaryIO

from segdeploy.errors import ConfigError, SegdeployError

VARIABLE = "SEGDEPLOY_FILE_BUDGET"
"""Environment variable with the memory that any file may take, for example 8GB."""

SMALL = 1 << 30
LARGE = 1 << 31
EXPANSION = 100
"""A file may take `SMALL` bytes, or `EXPANSION` times its own size up to `LARGE`: a photograph of
a hundred million pixels is a file of ten megabytes and more, and a bomb is not."""

PIECE = 1 << 20
"""Bytes that are read at a time of what does not say its size."""

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def file_budget(size: int) -> int:
    """Return how many bytes of memory a file may take once it is decoded.

    Args:
        size: Size of the file, in bytes.

    Raises:
        ConfigError: The environment variable `VARIABLE` holds something else than a size.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return max(SMALL, min(LARGE, EXPANSION * size))
    named = re.fullmatch(r"(\d{1,15})\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE | re.ASCII)
    if not named:
        msg = f"{VARIABLE} is {text!r}; set it to a size in bytes, for example 8GB"
        raise ConfigError(msg)
    return int(named[1]) * UNITS[named[2].upper()]


def read_within(file: BinaryIO, most: int) -> tuple[bytes, int]:
    """Return what a file holds, and its size in bytes, which is more than `most` where it is cut.

    A single call of `read` would take memory for all that it is asked for, whatever the file holds.
    A pipe or a device does not say its size, and may have no end.

    Args:
        file: The open file.
        most: Bytes after which reading ends.
    """
    size = os.fstat(file.fileno()).st_size
    if size > most:
        return b"", size
    piece = max(PIECE, size + 1)
    content = b"".join(islice(iter(partial(file.read, piece), b""), most // piece + 1))
    return content, len(content)


def check_budget(what: str, needed: int, *, size: int, error: type[SegdeployError]) -> None:
    """Refuse a file that would take more memory than its budget.

    Args:
        what: The file and what it declares, as the beginning of the message.
        needed: Bytes of memory that decoding it takes.
        size: Size of the file, in bytes.
        error: Type of the error that is raised.
    """
    if needed > (budget := file_budget(size)):
        # A float holds no more than that.
        needed = min(needed, 1 << 100)
        msg = (
            f"{what} and would take {needed / (1 << 30):.1f} GiB of memory, more than the"
            f" {budget / (1 << 30):.3g} GiB that this file may take; if you trust it, set"
            f" {VARIABLE}={-(-needed // (1 << 30))}GB"
        )
        raise error(msg)
