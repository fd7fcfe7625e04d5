"""The options of `segdeploy benchmark`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segdeploy.backends.names import BACKENDS
from segdeploy.cli.options import (
    Artifact,
    ImageSize,
    dataset_options,
    device_option,
    json_option,
    option,
    plugin_option,
    section,
    split_options,
    trust_option,
)
from segdeploy.cli.tuned import tuned_option

if TYPE_CHECKING:
    Numbers = click.ParamType[tuple[int, ...]]
else:
    # Up to click 8.3 the class takes no type.
    Numbers = click.ParamType


class Counts(Numbers):
    """One whole number from 1 on, or several with commas, each once."""

    name = "N,N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers of a text; a value that is already a tuple passes."""
        if isinstance(value, tuple):
            return value
        numbers = [int(part) if part.strip().isdecimal() else 0 for part in str(value).split(",")]
        if min(numbers) < 1:
            self.fail(
                f"{value!r} is not a list of numbers from 1 on; write for example 1,2", param, ctx
            )
        return tuple(dict.fromkeys(numbers))


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Options of the command, by their parameter names."""

    artifacts: tuple[Path, ...]
    dataset: str | None
    data: Path | None
    split: str
    images: int | None
    backends: tuple[str, ...]
    device: str
    trust: bool
    threads: tuple[int, ...] | None
    batches: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    runs: int
    warm_up: int
    rounds: int
    repeat_until_stable: bool
    video: Path | None
    export: bool
    with_peers: bool
    recipe: str | None
    loader: bool
    baseline: Path | None
    fail_on: str | None
    history: Path | None
    name: str | None
    output: Path | None
    as_json: bool


ARGUMENTS = (
    click.argument("artifacts", nargs=-1, type=Artifact()),
    tuned_option("threads", models="artifacts", batch="batches"),
    dataset_options,
    split_options,
    section(
        "Dataset",
        option(
            "--images",
            older=("--pictures",),
            type=click.IntRange(min=1),
            show_default="all of the split",
            help="Number of images to segment.",
        ),
    ),
    section(
        "Output",
        option("--name", show_default="the first artifact's", help="Name of the run's folder."),
        option(
            "--output",
            type=click.Path(file_okay=False, path_type=Path),
            show_default="runs/benchmark/NAME",
            help="Folder of the report.",
        ),
        json_option("the report"),
    ),
    section(
        "Variants",
        option(
            "--backend",
            "backends",
            multiple=True,
            type=click.Choice(BACKENDS),
            show_default="auto",
            help="Runtime; may be repeated.",
        ),
        device_option,
        trust_option,
        option(
            "--threads",
            type=Counts(),
            show_default="one per core",
            help="Threads of each network, or several numbers with commas.",
        ),
        option(
            "--batch",
            "batches",
            default="1",
            type=Counts(),
            help="Images per call of the network, or several numbers with commas.",
        ),
        option(
            "--imgsz",
            "sizes",
            multiple=True,
            type=ImageSize(),
            show_default="their own",
            help="Input size of dynamic files; may be repeated.",
        ),
    ),
    section(
        "Timing",
        option("--runs", default=20, type=click.IntRange(min=1), help="Timed runs in each round."),
        option(
            "--warm-up",
            default=3,
            type=click.IntRange(min=0),
            help="Warm-up runs before them, not timed.",
        ),
        option(
            "--rounds",
            default=3,
            type=click.IntRange(min=1),
            help="Rounds of each row, each in a process of its own.",
        ),
        option(
            "--repeat-until-stable",
            is_flag=True,
            help="Add rounds, up to 12, until each median is known within 5%.",
        ),
    ),
    section(
        "More to measure",
        option(
            "--video",
            type=click.Path(path_type=Path),
            help="Video to run each artifact on, from its file to an overlay video.",
        ),
        option(
            "--all",
            "export",
            is_flag=True,
            help="Export each checkpoint to every format and precision, and measure these too.",
        ),
        option(
            "--peers",
            "with_peers",
            is_flag=True,
            help="Measure other libraries and plain loops, as far as the libraries are installed.",
        ),
        option(
            "--train",
            "recipe",
            metavar="RECIPE",
            help="Measure how fast this recipe trains: a TOML file, or a bundled recipe.",
        ),
        option(
            "--loader", is_flag=True, help="Measure how fast the dataset is loaded for training."
        ),
    ),
    section(
        "Comparison with older reports",
        option(
            "--baseline",
            type=click.Path(dir_okay=False, path_type=Path),
            help="An older report.json.",
        ),
        option(
            "--fail-on",
            metavar="LIMITS",
            help="How much worse than the baseline is an error, for example p95=+15%,miou=-0.3; the"
            " exit code is 6.",
        ),
        option(
            "--history",
            type=click.Path(file_okay=False, exists=True, path_type=Path),
            help="Draw the reports below a folder over time; nothing is measured.",
        ),
    ),
    plugin_option,
)
"""Decorators of the command, in the order of its help."""

F = TypeVar("F", bound=Callable[..., Any])


def benchmark_options(command: F) -> F:
    """Add all options to the command."""
    for decorator in reversed(ARGUMENTS):
        command = decorator(command)
    return command
