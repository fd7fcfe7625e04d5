"""Kill commands at random moments, resume them, and compare with undisturbed runs.

    python -m tests.kill --kills 200 --seed 7

The moments are random numbers of the seed, but where a command then is depends on the machine.
"""

import os
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from random import Random

import click

from tests.kill.process import forbid_core_dumps, import_libraries
from tests.kill.scenarios import SCENARIOS
from tests.kill.trial import Counts, Trials


@click.command()
@click.option("--kills", default=20, show_default=True, help="Kills, over all scenarios.")
@click.option("--minutes", type=float, help="Time in place of a number of kills.")
@click.option("--seed", default="0", show_default=True, help="Seed of all random numbers.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(SCENARIOS)), help="Scenario; may be repeated."
)
@click.option(
    "--keep", type=click.Path(path_type=Path), help="New folder for all files of the trials."
)
def main(
    kills: int, minutes: float | None, seed: str, only: tuple[str, ...], keep: Path | None
) -> None:
    """Kill commands at random moments; the exit code is 1 where something was lost or broken."""
    until = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="kill-") as temporary:
        root = (keep or Path(temporary)).resolve()
        for name in ("home", "tmp"):
            (root / name).mkdir(parents=True)
        os.environ.update(HOME=str(root / "home"), TMPDIR=str(root / "tmp"))
        tempfile.tempdir = None
        forbid_core_dumps()
        import_libraries()
        counts = Counts()
        scenarios = [Trials(name, root / name.replace(" ", "-")) for name in only or SCENARIOS]
        for number in count():
            for trials in scenarios:
                if time.monotonic() > until or (
                    minutes is None and sum(counts.kills.values()) >= kills
                ):
                    break
                before = len(counts.faults)
                trials.run(number, Random(f"{seed}/{trials.name}/{number}"), counts)
                for fault in counts.faults[before:]:
                    click.echo(fault)
            else:
                continue
            break
    click.echo(f"seed {seed}\n{counts.table()}")
    sys.exit(1 if counts.faults else 0)


if __name__ == "__main__":
    main()
