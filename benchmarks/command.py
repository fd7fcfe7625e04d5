"""`benchmark`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from segdeploy.backends.loading import BACKENDS, kind_of
from segdeploy.cli.console import note, progress
from segdeploy.cli.options import Artifact, ImageSize, RenamedOption, plugin_option
from segdeploy.datasets.registry import place_for
from segdeploy.errors import ConfigError, SegdeployError
from segdeploy.system.files import write_text
from segdeploy.system.machine import survey
from segdeploy.system.runs import result_folder
from segdeploy.video.reader import VideoSource

from .gate import Verdict, check_gate, check_limits, check_plan, gate, parse_limits
from .measure.accuracy import Pair, check_classes, first_card
from .measure.peers import installed
from .measure.rounds import PROCESSES
from .measure.subcommands import make_all, reading_speed, training_speed
from .plan import CHECKPOINT, Plan, compare, reference_of, ways_of
from .report.history import read_history, to_page
from .report.page import to_html
from .report.tables import summary, to_markdown
from .results.report import Report, Row, read_report

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
        """Read the text; a value that is already a tuple passes."""
        if isinstance(value, tuple):
            return value
        numbers = [int(part) if part.strip().isdecimal() else 0 for part in str(value).split(",")]
        if min(numbers) < 1:
            self.fail(
                f"{value!r} is no list of numbers from 1 on; write for example 1,2", param, ctx
            )
        return tuple(dict.fromkeys(numbers))


@click.command()
@click.argument("artifacts", nargs=-1, type=Artifact())
@click.option("--dataset", help="Name of the dataset.  [default: the one of the training]")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the dataset.  [default: the one of the training]",
)
@click.option("--split", default="val", show_default=True, help="DatasetSplit of the dataset.")
@click.option(
    "--images",
    cls=RenamedOption,
    older=("--pictures",),
    type=click.IntRange(min=1),
    help="How many images are answered.  [default: all of the split]",
)
@click.option(
    "--runs",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="Timed runs in each round.",
)
@click.option(
    "--warm-up",
    default=3,
    show_default=True,
    type=click.IntRange(min=0),
    help="Runs before them that are not timed.",
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Rounds of each row, each a process of its own.",
)
@click.option(
    "--repeat-until-stable",
    is_flag=True,
    help="Add rounds, up to 12, until each median is known within 5%.",
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    type=click.Choice(BACKENDS),
    help="Runtime; may be repeated.  [default: auto]",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:n.")
@click.option(
    "--threads",
    type=Counts(),
    help="Threads of each network, several with commas.  [default: as many as there are cores]",
)
@click.option(
    "--batch",
    "batches",
    default="1",
    show_default=True,
    type=Counts(),
    help="Images at once, several with commas.",
)
@click.option(
    "--imgsz",
    "sizes",
    multiple=True,
    type=ImageSize(),
    help="Size of dynamic files' input; may be repeated.  [default: their own]",
)
@click.option(
    "--video",
    type=click.Path(path_type=Path),
    help="A video to run each artifact over, from its file to an overlay video.",
)
@click.option(
    "--all",
    "make",
    is_flag=True,
    help="Export each checkpoint to every format and precision, and measure these too.",
)
@click.option(
    "--peers",
    "with_peers",
    is_flag=True,
    help="Measure the loops that others write, too, as far as their libraries are installed.",
)
@click.option(
    "--train",
    "recipe",
    help="Measure how fast this recipe trains, too: a TOML file, or a recipe in the box.",
)
@click.option(
    "--loader", is_flag=True, help="Measure how fast the dataset is read for training, too."
)
@click.option(
    "--history",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Draw the reports below a folder over time; nothing is measured.",
)
@click.option(
    "--baseline",
    type=click.Path(dir_okay=False, path_type=Path),
    help="An older report.json to compare with.",
)
@click.option(
    "--fail-on",
    help=(
        "How much worse than the baseline is too much, for example p95=+15%,miou=-0.3; exits"
        " with 6."
    ),
)
@plugin_option
@click.option("--name", help="Name of the run's folder.  [default: the first artifact's]")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the report.  [default: runs/benchmark/NAME]",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the report as JSON instead of its summary."
)
def benchmark(
    artifacts: tuple[Path, ...],
    *,
    dataset: str | None,
    data: Path | None,
    split: str,
    images: int | None,
    runs: int,
    warm_up: int,
    rounds: int,
    repeat_until_stable: bool,
    backends: tuple[str, ...],
    device: str,
    threads: tuple[int, ...] | None,
    batches: tuple[int, ...],
    sizes: tuple[tuple[int, int], ...],
    video: Path | None,
    make: bool,
    with_peers: bool,
    recipe: str | None,
    loader: bool,
    history: Path | None,
    baseline: Path | None,
    fail_on: str | None,
    name: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure accuracy and latency of ARTIFACTS against the first checkpoint among them, and write a report.

    Each row (an artifact with a runtime, threads, a batch and a size) is measured in processes of
    its own, in rounds by turns. Exits with 1 where a row failed (the others are reported), and with
    6 where one is worse than --fail-on allows.
    """
    if name is not None and output is not None:
        msg = (
            "--output is the folder itself; leave out --name, which names one below runs/benchmark"
        )
        raise ConfigError(msg)
    if history is not None:
        draw_history(history, output or history)
        return
    if (baseline is None) != (fail_on is None):
        msg = (
            "--baseline and --fail-on belong together: an older report.json, and how much worse"
            " than it is too much"
        )
        raise ConfigError(msg)
    limits = () if fail_on is None else parse_limits(fail_on)
    old = None if baseline is None else read_report(baseline)
    if old is not None:
        check_limits(old, survey(), limits)
    check_artifacts(artifacts, make=make)
    if video is not None:
        VideoSource(video).close()
    if dataset is None or data is None:
        dataset, data = place_for(first_card(artifacts), dataset, data=data)
    if loader and data is None:
        msg = (
            f"--loader reads a folder, and {dataset} draws itself; name a dataset of files with"
            " --dataset and --data"
        )
        raise ConfigError(msg)
    plan = Plan(
        artifacts=artifacts,
        backends=backends or ("auto",),
        device=device,
        threads=threads or (None,),
        batches=batches,
        sizes=sizes or (None,),
        peers=peers_for(artifacts) if with_peers else (),
        dataset=dataset,
        data=data,
        split=split,
        images=images,
        runs=runs,
        warm_up=warm_up,
        rounds=rounds,
        until_stable=repeat_until_stable,
        video=video,
    )
    ways_of(plan)
    check_classes(artifacts, reference_of(plan))
    with result_folder("benchmark", name or artifacts[0].stem, output=output) as written:
        plan, failed = with_exports(plan, written / "artifacts") if make else (plan, [])
        if old is not None:
            check_plan(old, plan, failed=[row.name for row in failed])
        asides = [training_speed(recipe, data)] if recipe else []
        asides += [reading_speed(data, dataset)] if loader and data is not None else []
        steps = len(ways_of(plan)) * (rounds + (video is not None))
        with (
            TemporaryDirectory(prefix="segdeploy-") as folder,
            progress("measuring", steps) as step,
        ):
            report, pairs = compare(plan, Path(folder), workers=PROCESSES, on_step=step)
        report = replace(report, rows=(*report.rows, *failed), asides=tuple(asides))
        write(report, pairs, written)
    click.echo(
        report.to_json() if as_json else f"{summary(report)}\nreport: {written / 'report.html'}",
        nl=not as_json,
    )
    for warning in report.warnings:
        note(f"careful: {warning}")
    conclude(report, () if old is None else gate(report, old, limits))


def draw_history(folder: Path, target: Path) -> None:
    """Draw the reports below a folder over time.

    Raises:
        DataError: There is no report.
    """
    reports, left_out = read_history(folder)
    for reason in left_out:
        note(f"left out: {reason}")
    target.mkdir(parents=True, exist_ok=True)
    write_text(target / "history.html", to_page(reports, left_out))
    click.echo(target / "history.html")


def check_artifacts(artifacts: Sequence[Path], *, make: bool) -> None:
    """Refuse what cannot be measured, before anything is.

    Raises:
        ConfigError: Nothing was named, or no checkpoint to export.
        ModelError: A file is missing, or of an unknown kind.
    """
    if not artifacts:
        msg = "name the files to measure, as in: segdeploy benchmark best.pt best.onnx"
        raise ConfigError(msg)
    for path in artifacts:
        kind_of(path)
    if make and not any(path.suffix == CHECKPOINT for path in artifacts):
        msg = (
            f"--all exports a checkpoint, and none of {', '.join(map(str, artifacts))} is one; name"
            f" a {CHECKPOINT} file too"
        )
        raise ConfigError(msg)


def peers_for(artifacts: Sequence[Path]) -> tuple[str, ...]:
    """Return the loops that can be run on these artifacts, and say which libraries are not there."""
    here, missing = installed({path.suffix for path in artifacts})
    if missing:
        note(
            f"left out, since it is not installed: {', '.join(missing)}; pip install"
            " 'segdeploy[peers]' brings them"
        )
    return tuple(here)


def with_exports(plan: Plan, folder: Path) -> tuple[Plan, list[Row]]:
    """Add every format of each checkpoint to a plan, and give a row for each that could not be made."""
    checkpoints = [path for path in plan.artifacts if path.suffix == CHECKPOINT]
    made, failed = list(plan.artifacts), []
    with progress("exporting", None) as step:
        for number, checkpoint in enumerate(checkpoints):
            place = folder if len(checkpoints) == 1 else folder / str(number)
            files, reasons = make_all(
                checkpoint, place, dataset=plan.dataset, data=plan.data, on_form=step
            )
            made += files
            failed += reasons
    return replace(plan, artifacts=tuple(made)), failed


def conclude(report: Report, verdicts: Sequence[Verdict]) -> None:
    """Return what became of each limit, and end as the worst of it says.

    Raises:
        GateError: A limit was not kept.
        SegdeployError: A row failed.
    """
    for verdict in verdicts:
        note(f"{verdict.state}: {verdict.sentence}")
    check_gate(verdicts)
    if report.failed:
        reasons = "; ".join(f"{row.name}: {row.error}" for row in report.failed)
        msg = (
            f"{len(report.failed)} of {len(report.rows)} artifacts failed ({reasons}); the report"
            " holds the others"
        )
        raise SegdeployError(msg)


def write(report: Report, pairs: Sequence[Pair], folder: Path) -> None:
    """Write a report in its three forms."""
    write_text(folder / "report.json", report.to_json())
    write_text(folder / "report.md", to_markdown(report))
    write_text(folder / "report.html", to_html(report, pairs))
