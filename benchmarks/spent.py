"""What a command of segdeploy spends: seconds and memory, in a process of its own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from .process import printed

# The process itself tells: what the system tells of an ended child may be its parent's.
MEASURED = """
import sys
from segdeploy.cli import main
from segdeploy.machine import peak_memory

try:
    main(sys.argv[1:])
except SystemExit as error:
    if error.code:
        raise
print(peak_memory() or 0)
"""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a command spent.

    Attributes:
        seconds: From starting its process to its end.
        memory: The most that it held at once, in bytes; 0 where the system does not tell.
    """

    seconds: float
    memory: int


def spend(arguments: Sequence[str]) -> Spent:
    """Run a command, for example ["export", "best.pt"].

    Raises:
        SegdeployError: It failed; the message is its own.
    """
    start = time.perf_counter()
    told = printed(["-c", MEASURED, *arguments])
    return Spent(seconds=time.perf_counter() - start, memory=int(told.splitlines()[-1]))
