"""Give mutated files to the readers and commands, and count what becomes of them.

    python -m tests.fuzz --cases 50000 --seed 7
    python -m tests.fuzz --only onnx --case 123 --seed 7

The same seed gives the same files wherever the same versions of the libraries write the seeds.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

import click

from tests.fuzz.campaign import Verdict, plan, run_cases
from tests.fuzz.seeds import write_seeds
from tests.fuzz.targets import TARGETS


@click.command()
@click.option("--cases", default=2000, show_default=True, help="Mutated files, over all targets.")
@click.option("--minutes", type=float, help="Time in place of a number of cases.")
@click.option("--seed", default="0", show_default=True, help="Seed of all random numbers.")
@click.option(
    "--only", multiple=True, type=click.Choice(list(TARGETS)), help="Target; may be repeated."
)
@click.option("--case", "number", type=int, help="Number of one case, printed in full.")
@click.option(
    "--keep",
    default=Path("build/fuzz"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the files of bad cases.",
)
def main(
    cases: int,
    minutes: float | None,
    seed: str,
    only: tuple[str, ...],
    number: int | None,
    keep: Path,
) -> None:
    """Give mutated files to the readers and commands; the exit code is 1 where one was bad."""
    names = only or tuple(TARGETS)
    until = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        root = Path(folder).resolve()
        write_seeds(root / "seeds")
        chosen: Iterator[tuple[str, int]]
        if number is not None:
            chosen = iter([(name, number) for name in names])
        elif minutes is None:
            chosen = in_order(plan(cases, names))
        else:
            chosen = endless(plan(1000, names))
        counts = run_cases(chosen, root, seed=seed, keep=keep, on_fault=show, until=until)
    click.echo(f"seed {seed}\n{counts.table()}")
    sys.exit(1 if counts.faults else 0)


def in_order(numbers: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Return each case of each target once."""
    for name, total in numbers.items():
        for number in range(total):
            yield name, number


def endless(numbers: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Return cases in rounds, of each target as many as in the plan."""
    for turn in count():
        for name, total in numbers.items():
            for number in range(turn * total, (turn + 1) * total):
                yield name, number


def show(verdict: Verdict) -> None:
    """Print a bad verdict, and how to repeat it."""
    click.echo(
        f"{verdict.verdict}: --only {verdict.target!r} --case {verdict.number}"
        f" ({verdict.kept})\n    " + verdict.reason.rstrip()[-2000:].replace("\n", "\n    ")
    )


if __name__ == "__main__":
    main()
