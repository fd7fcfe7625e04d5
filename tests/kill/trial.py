"""Trials: a command is killed at random moments until it is done, and looked at each time."""

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.kill.process import command, in_child, kill_after
from tests.kill.scenarios import SCENARIOS, Scenario, broken_file

PATIENCE = 120.0
"""Seconds after which a command that is not killed counts as one that does not end."""

MAX_KILLS = 4
"""Kills of one run; then it may end."""


@dataclass
class Counts:
    """What happened, by scenario.

    Attributes:
        kills: Processes that were killed.
        finished: Runs that were resumed to their end, and were as an undisturbed one.
        faults: What was wrong, a sentence each.
    """

    kills: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return a line for each scenario, and one for all."""
        lines = [f"{'':18}{'kills':>10}{'finished':>10}{'faults':>10}"]
        for name in (*self.kills, "all"):
            numbers = (
                sum(count for one, count in self.kills.items() if name in (one, "all")),
                sum(count for one, count in self.finished.items() if name in (one, "all")),
                sum(1 for fault in self.faults if name == "all" or fault.startswith(f"{name}: ")),
            )
            lines.append(f"{name:18}" + "".join(f"{number:10}" for number in numbers))
        return "\n".join(lines)


class Trials:
    """Trials of one scenario.

    Attributes:
        whole: Result of the undisturbed run.
        seconds: How long a run takes.
    """

    def __init__(self, name: str, root: Path) -> None:
        """Run the command undisturbed.

        Args:
            name: Name of the scenario.
            root: Folder for inputs, trials and logs; a new one.

        Raises:
            RuntimeError: It does not end well.
        """
        self.name = name
        self._scenario: Scenario = SCENARIOS[name]
        self._root, self._inputs = root, root / "inputs"
        self._inputs.mkdir(parents=True)
        in_child(self._scenario.prepare, self._inputs)
        folder = self._begin("undisturbed")
        begun = time.monotonic()
        code = self._run(folder, PATIENCE)
        self.seconds = time.monotonic() - begun
        if code != 0:
            msg = f"{name}: the undisturbed run ended with {code}:\n{self._log(folder)[-2000:]}"
            raise RuntimeError(msg)
        self.whole: Mapping[str, Any] = in_child(self._scenario.result, folder)

    def run(self, number: int, random: Random, counts: Counts) -> None:
        """Kill a run up to `MAX_KILLS` times, let it end, and compare."""
        folder = self._begin(f"trial-{number}")
        left = kills = random.randint(1, MAX_KILLS)
        while left:
            seconds = random.uniform(0, self.seconds)
            begun = time.monotonic()
            code = self._run(folder, seconds)
            if code is not None:
                if left == kills:
                    # It was faster than before; the next kills shall meet it.
                    self.seconds = time.monotonic() - begun
                break
            left -= 1
            counts.kills[self.name] += 1
            if fault := in_child(self._look, folder):
                counts.faults.append(f"{self.name}: trial {number}, after {seconds:.3f} s: {fault}")
                return
        else:
            code = self._run(folder, PATIENCE)
        if fault := self._compare(folder, code):
            counts.faults.append(f"{self.name}: trial {number}, at the end: {fault}")
            return
        counts.finished[self.name] += 1
        shutil.rmtree(folder)

    def _begin(self, name: str) -> Path:
        folder = self._root / name
        folder.mkdir()
        self._scenario.begin(folder, self._inputs)
        return folder

    def _run(self, folder: Path, seconds: float) -> int | None:
        """Return the exit code; None where it was killed."""
        arguments = self._scenario.arguments(folder, self._inputs)
        return kill_after(command(arguments, folder, log=self._log_path(folder)), seconds)

    def _look(self, folder: Path) -> str:
        return broken_file(folder) or self._scenario.fault(folder, self.whole)

    def _compare(self, folder: Path, code: int | None) -> str:
        if code is None:
            return f"it did not end within {PATIENCE:.0f} s"
        log = self._log(folder)
        if not self._scenario.is_over(code, log) or "Traceback" in log:
            return f"exit code {code}: {log[-1500:]}"
        if fault := in_child(self._look, folder):
            return fault
        found = in_child(self._scenario.result, folder)
        different = [key for key in self.whole if found.get(key) != self.whole[key]]
        different += [key for key in found if key not in self.whole]
        return f"different from an undisturbed run: {', '.join(different[:5])}" if different else ""

    def _log_path(self, folder: Path) -> Path:
        return folder.with_suffix(".log")

    def _log(self, folder: Path) -> str:
        return self._log_path(folder).read_text(encoding="utf-8", errors="replace")
