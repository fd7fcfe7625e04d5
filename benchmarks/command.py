"""The command `benchmark`."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from segdeploy.atomic import write_text
from segdeploy.backends.loading import BACKENDS, kind_of, read_card
from segdeploy.card import ModelCard
from segdeploy.console import note, progress
from segdeploy.datasets.of_card import place_for
from segdeploy.errors import ConfigError, ModelError, SegdeployError
from segdeploy.runs import result_folder
from segdeploy.video.sources import VideoSource

from .comparison import Plan, compare
from .report import Report
from .rounds import PROCESSES
from .to_html import to_html
from .to_markdown import to_markdown
from .words import summary


@click.command()
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--dataset", help="Name of the data set.  [default: the one of the training]")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the data set.  [default: the one of the training]",
)
@click.option("--split", default="val", show_default=True, help="Split of the data set.")
@click.option("--pictures", type=click.IntRange(min=1), help="How many pictures are answered.  [default: all of the split]")
@click.option("--runs", default=20, show_default=True, type=click.IntRange(min=1), help="Timed runs in each round.")
@click.option("--warm-up", default=3, show_default=True, type=click.IntRange(min=0), help="Runs before them that are not timed.")
@click.option(
    "--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="Rounds of each artifact, each a process of its own."
)
@click.option("--backend", default="auto", show_default=True, type=click.Choice(BACKENDS), help="Runtime of all artifacts.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:n.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of each network.  [default: as many as there are cores]")
@click.option("--video", type=click.Path(path_type=Path), help="A video to run each artifact over, from its file to an overlay video.")
@click.option("--name", help="Name of the run's folder.  [default: the first artifact's]")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the report.  [default: runs/benchmark/NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of its summary.")
def benchmark(
    artifacts: tuple[Path, ...],
    *,
    dataset: str | None,
    data: Path | None,
    split: str,
    pictures: int | None,
    runs: int,
    warm_up: int,
    rounds: int,
    backend: str,
    device: str,
    threads: int | None,
    video: Path | None,
    name: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure accuracy and latency of ARTIFACTS against the first checkpoint among them, and write a report.

    Each artifact is measured in processes of its own, in rounds by turns. Exits with 1 where an artifact failed; the others are reported.
    """
    if name is not None and output is not None:
        msg = "--output is the folder itself; leave out --name, which names one below runs/benchmark"
        raise ConfigError(msg)
    for path in artifacts:
        kind_of(path)
    if video is not None:
        VideoSource(video).close()
    if dataset is None or data is None:
        dataset, data = place_for(first_card(artifacts), dataset, data=data)
    plan = Plan(
        artifacts=artifacts,
        backend=backend,
        device=device,
        threads=threads,
        dataset=dataset,
        data=data,
        split=split,
        pictures=pictures,
        runs=runs,
        warm_up=warm_up,
        rounds=rounds,
        video=video,
    )
    steps = len(artifacts) * (rounds + (video is not None))
    with result_folder("benchmark", name or artifacts[0].stem, output=output) as written:
        with TemporaryDirectory(prefix="segdeploy-") as folder, progress("measuring", steps) as step:
            report = compare(plan, Path(folder), workers=PROCESSES, on_step=step)
        write(report, written)
    click.echo(report.to_json() if as_json else f"{summary(report)}\nreport: {written / 'report.html'}", nl=not as_json)
    for warning in report.warnings:
        note(f"careful: {warning}")
    if report.failed:
        reasons = "; ".join(f"{row.name}: {row.error}" for row in report.failed)
        msg = f"{len(report.failed)} of {len(report.rows)} artifacts failed ({reasons}); the report holds the others"
        raise SegdeployError(msg)


def first_card(artifacts: Sequence[Path]) -> ModelCard:
    """Read the card of the first artifact that has one: a damaged file is a row that fails, not the end.

    Raises:
        ModelError: None of them has one.
    """
    for path in artifacts[:-1]:
        with suppress(ModelError):
            return read_card(path)
    return read_card(artifacts[-1])


def write(report: Report, folder: Path) -> None:
    """Write a report in its three forms."""
    write_text(folder / "report.json", report.to_json())
    write_text(folder / "report.md", to_markdown(report))
    write_text(folder / "report.html", to_html(report))
