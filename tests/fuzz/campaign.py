"""A campaign: many mutated files, the processes that read them, and the counts of verdicts."""

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from segdeploy.system.machine import CPU_FEATURES
from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import OWN_FAULT

ROOT = Path(__file__).parents[2]

GOOD = ("done", "refused")
"""Verdicts on files that were read, and on those that an error of ours refused."""

BAD = ("traceback", "signal", "hang", "memory", "outside", "broken", "terminal")
"""Verdicts that are faults: an error that is not ours; the end of the process; no end; more memory
than the file is worth; a file, program or socket outside; a file that is not whole under its final
name; characters that change a terminal."""

LIMIT = 30.0
"""Seconds that reading one file may take; on a busy machine, at a second try, `PATIENCE` times as
many."""

PATIENCE = 4

STARTING = 120.0
"""Seconds that a process may take to start."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a case.

    Attributes:
        target: Name of the target.
        number: Number of the case.
        verdict: One of GOOD or BAD.
        reason: What was found, in one or more lines.
        kept: Folder with the mutated file, where the verdict is bad.
    """

    target: str
    number: int
    verdict: str
    reason: str
    kept: Path | None


@dataclass
class Counts:
    """How often each verdict was reached.

    Attributes:
        verdicts: Number by target and verdict.
        faults: The bad ones.
        seconds: Time by target.
    """

    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[Verdict] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: Verdict, seconds: float) -> None:
        """Count one."""
        self.verdicts[verdict.target, verdict.verdict] += 1
        self.seconds[verdict.target] += seconds  # type: ignore[assignment]
        if verdict.verdict in BAD:
            self.faults.append(verdict)

    def table(self) -> str:
        """Return a line for each target, and one for all."""
        names = [name for name in TARGETS if any(one == name for one, _ in self.verdicts)]
        shown = [*GOOD, *BAD]
        lines = [f"{'':18}" + "".join(f"{name:>10}" for name in ("cases", *shown, "per s"))]
        for name in [*names, "all"]:
            row = [
                sum(
                    count
                    for (target, verdict), count in self.verdicts.items()
                    if name in (target, "all") and verdict == one
                )
                for one in shown
            ]
            spent = sum(self.seconds.values()) if name == "all" else self.seconds[name]
            rate = sum(row) / spent if spent else 0
            lines.append(
                f"{name:18}{sum(row):10}" + "".join(f"{one:10}" for one in row) + f"{rate:10.0f}"
            )
        return "\n".join(lines)


class Process:
    """A worker that reads mutated files, and is started anew when one ends it."""

    def __init__(self, root: Path, seed: str, *, limit: float = LIMIT) -> None:
        """Start it.

        Args:
            root: Folder of the campaign, with seeds in it.
            seed: Seed of all random numbers.
            limit: Seconds that reading one file may take.
        """
        self._root, self._seed, self._limit = root, seed, limit
        for name in ("home", "tmp"):
            (root / name).mkdir(exist_ok=True)
        self._start()

    def _start(self) -> None:
        known = ("PATH", "LD_LIBRARY_PATH", CPU_FEATURES)
        environment = {name: os.environ[name] for name in known if name in os.environ}
        environment |= {
            "HOME": str(self._root / "home"),
            "TMPDIR": str(self._root / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(ROOT),
            # One case at a time; threads that wait for each other cost more than they gain.
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", str(self._root), self._seed],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self._root,
            env=environment,
        )
        if self._answer(STARTING) != "ready\n":
            self.close()
            msg = "the process that reads mutated files does not start"
            raise RuntimeError(msg)

    def run(self, target: str, number: int) -> tuple[str, str]:
        """Let it read one file, and return the verdict with its reason."""
        verdict = self._try(target, number, self._limit)
        return verdict or self._try(target, number, PATIENCE * self._limit) or ("hang", "no end")

    def _try(self, target: str, number: int, limit: float) -> tuple[str, str] | None:
        """Return the verdict; None where there was none in time."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{target}\t{number}\n".encode())
        self._process.stdin.flush()
        answer = self._answer(limit)
        if answer:
            values = json.loads(answer)
            return values["verdict"], values["reason"]
        if answer is None:
            self.close()
            verdict = None
        else:
            code = self._process.wait()
            self.close()
            if code == OWN_FAULT:
                msg = f"the tests themselves failed on case {number} of {target!r}"
                raise RuntimeError(msg)
            verdict = "signal", f"exit code {code}\n{(self._root / 'crash').read_text()}"
        self._start()
        return verdict

    def _answer(self, limit: float) -> str | None:
        """Return the next line; "" where the process ended, None where none came in time."""
        output: IO[bytes] | None = self._process.stdout
        assert output is not None
        # `select` knows no descriptor above 1023.
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            ready = selector.select(limit)
        return output.readline().decode() if ready else None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()


def plan(cases: int, names: Sequence[str]) -> Mapping[str, int]:
    """Return how many cases each target gets, by its share; one at least."""
    total = sum(TARGETS[name].share for name in names)
    return {name: max(1, round(cases * TARGETS[name].share / total)) for name in names}


def run_cases(
    cases: Iterator[tuple[str, int]],
    root: Path,
    *,
    seed: str,
    keep: Path,
    on_fault: Callable[[Verdict], None],
    until: float = float("inf"),
) -> Counts:
    """Read the mutated files of some cases, and return the counts, also after Ctrl-C.

    Args:
        cases: Target and number of each.
        root: Folder of the campaign, with seeds in it.
        seed: Seed of all random numbers.
        keep: Folder to which the files of bad cases are copied.
        on_fault: Called with each bad verdict.
        until: Time of `time.monotonic` at which no further case is begun.
    """
    counts = Counts()
    process = Process(root, seed)
    try:
        for name, number in cases:
            begun = time.monotonic()
            if begun > until:
                break
            verdict, reason = process.run(name, number)
            kept = None
            if verdict in BAD:
                kept = keep / f"{name.replace(' ', '-')}-{number}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(root / "case", kept, symlinks=True)
            found = Verdict(target=name, number=number, verdict=verdict, reason=reason, kept=kept)
            counts.add(found, time.monotonic() - begun)
            if kept:
                on_fault(found)
    except KeyboardInterrupt:
        pass
    finally:
        process.close()
    return counts
