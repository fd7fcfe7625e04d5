"""All rounds of all artifacts: each in a fresh process, one at a time, rows taking turns."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from segdeploy.machine import POOLS

from .row import Round, Task


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one artifact.

    Attributes:
        rounds: Its rounds, as far as it came.
        error: Why it failed; "" where it did not.
    """

    rounds: tuple[Round, ...] = ()
    error: str = ""


def in_turns(names: Sequence[str], rounds: int) -> list[str]:
    """Give the order of all rounds: there and back again, so that a machine that slows down slows all rows alike."""
    return [name for number in range(rounds) for name in (names if number % 2 == 0 else names[::-1])]


def measure_all(
    tasks: Mapping[str, Task], *, rounds: int, once: Callable[[Task], Round | str], on_round: Callable[[str], None]
) -> dict[str, Outcome]:
    """Measure every artifact; one that fails is left out of the later rounds.

    Args:
        tasks: What to measure, by the row's name; only the first round of a row writes answers.
        rounds: Rounds of each row.
        once: Does one round, or says why it cannot.
        on_round: Is told the row's name after each round.
    """
    outcomes = {name: Outcome() for name in tasks}
    for name in in_turns(list(tasks), rounds):
        so_far = outcomes[name]
        if not so_far.error:
            found = once(replace(tasks[name], answers=None) if so_far.rounds else tasks[name])
            outcomes[name] = replace(so_far, error=found) if isinstance(found, str) else replace(so_far, rounds=(*so_far.rounds, found))
        on_round(name)
    return outcomes


def in_process(task: Task) -> Round | str:
    """Do one round in a process of its own, and give what it found, or why it failed.

    The process starts as a user's would: without the current folder on its path, with the pools of threads set.
    """
    with TemporaryDirectory(prefix="segdeploy-") as folder:
        order, result = Path(folder, "task.json"), Path(folder, "round.json")
        order.write_text(json.dumps(asdict(replace(task, started=time.monotonic()))))
        done = subprocess.run(  # noqa: S603 - this Python, and files of ours
            [sys.executable, "-P", "-m", "segdeploy.benchmarks.row", str(order), str(result)],
            env={**POOLS, **os.environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            return death(done.returncode, done.stderr)
        found = json.loads(result.read_text())
    return str(found["error"]) if "error" in found else Round.from_dict(found)


def death(code: int, errors: str) -> str:
    """Say in a sentence why a process ended without a result.

    Args:
        code: Its exit code; negative for the signal that ended it.
        errors: What it wrote to stderr; the last line of a traceback names the error.
    """
    if code == -9:
        return "its process was killed; the machine may have run out of memory"
    if code < 0:
        return f"its process was ended by signal {-code}"
    lines = errors.strip().splitlines()
    return f"its process failed: {lines[-1] if lines else f'exit code {code}'}"
