"""`data init | check | stats | render`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from segdeploy.cli.console import next_step, note, progress
from segdeploy.cli.options import plugin_option, same_plugins
from segdeploy.datasets.checks.check import Report, check, quick_check
from segdeploy.datasets.checks.detect import open_splits, recognize
from segdeploy.datasets.checks.finding import Finding
from segdeploy.datasets.checks.split import measure, survey_all
from segdeploy.datasets.checks.statistics import Figures
from segdeploy.datasets.index import DatasetIndex, listed
from segdeploy.datasets.registry import layout
from segdeploy.datasets.synthetic.dataset import COUNTS, HEIGHT, WIDTH, Streets, save
from segdeploy.datasets.synthetic.lighting import WEATHERS
from segdeploy.errors import ConfigError, DataError
from segdeploy.system.files import write_text
from segdeploy.video.synthetic_clip import film

SHOWN = 3
"""Sizes that are named; the rest is counted."""


def splits_table(figures: Mapping[str, Figures]) -> Table:
    """Lay out the splits, a row each."""
    table = Table("split", box=None, pad_edge=False)
    for title in ("pictures", "masks", "labelled"):
        table.add_column(title, justify="right")
    for title in ("sizes", "mean of red, green, blue", "their deviation"):
        table.add_column(title)
    for split, found in figures.items():
        labelled = f"{found.labelled:.1%}" if found.masks else ""
        table.add_row(
            split,
            str(found.images),
            str(found.masks),
            labelled,
            _sizes(found),
            _triple(found.mean),
            _triple(found.std),
        )
    return table


def _sizes(figures: Figures) -> str:
    named = [
        size if len(figures.sizes) == 1 else f"{size} ({count})"
        for size, count in list(figures.sizes.items())[:SHOWN]
    ]
    rest = [f"{len(figures.sizes) - SHOWN} more"] if len(figures.sizes) > SHOWN else []
    return ", ".join(named + rest)


def _triple(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def classes_table(figures: Mapping[str, Figures]) -> Table:
    """Lay out the classes, a row each.

    Their share of the labeled pixels of each split, and weights that follow from the first split.
    """
    table = Table("class", box=None, pad_edge=False)
    labelled = {split: found for split, found in figures.items() if found.masks}
    for split in labelled:
        table.add_column(f"{split}, pixels", justify="right")
        table.add_column("pictures", justify="right")
    for title in ("weight, ENet", "weight, median"):
        table.add_column(title, justify="right")
    for entries in zip(*(found.classes for found in labelled.values()), strict=True):
        shares = [cell for entry in entries for cell in (f"{entry.share:.2%}", str(entry.images))]
        weights = [
            "" if weight is None else f"{weight:.2f}"
            for weight in (entries[0].weight, entries[0].median_weight)
        ]
        table.add_row(Text(entries[0].name), *shares, *weights)
    return table


STYLES = {"error": "bold red", "warning": "yellow"}


@click.command("check")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--dataset", help="Name of the dataset.  [default: what lies in DATA]")
@click.option(
    "--quick",
    is_flag=True,
    help="Look at names, sizes and a few images only, as training does at its start.",
)
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print findings and figures as JSON.")
def check_data(*, data: Path, dataset: str | None, quick: bool, as_json: bool) -> None:
    """Look for what would spoil a training in the dataset that lies in DATA.

    Every file is read once. Exit code 3 says that something would spoil it; warnings alone do not.
    """
    chosen = layout(dataset) if dataset else recognize(data)
    surveys, missing = survey_all(chosen, data)
    note(f"{data} holds {_count(surveys)} images of {chosen.name} ({', '.join(surveys)})")
    report = Report(findings=tuple(quick_check(surveys)), figures={}) if quick else _check(surveys)
    report = replace(report, findings=(*missing, *report.findings))
    if as_json:
        click.echo(
            json.dumps({"dataset": chosen.name, "data": str(data), **report.to_dict()}, indent=2)
        )
    else:
        show(report)
    if report.errors:
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in report.errors))
        msg = (
            f"{data} would spoil a training ({kinds}); mend what is listed as error and check again"
        )
        raise DataError(msg)
    next_step("segdeploy", "train", *same_plugins(), "--dataset", chosen.name, "--data", data)


def _count(surveys: Mapping[str, DatasetIndex]) -> int:
    return sum(len(survey.pairs) for survey in surveys.values())


def _check(surveys: Mapping[str, DatasetIndex]) -> Report:
    with progress("check", _count(surveys)) as on_step:
        return check(surveys, on_step=on_step)


def show(report: Report) -> None:
    """Print findings and figures."""
    console = Console()
    if report.figures:
        console.print(splits_table(report.figures), "")
        console.print(classes_table(report.figures), "")
    if report.findings:
        console.print(findings_table(report.findings))
    else:
        console.print("nothing is wrong", style="green")


def findings_table(findings: Sequence[Finding]) -> Table:
    """Lay out the findings, a row each, and under it the first few of the files that its sentence does not name."""
    table = Table("", "what", "split", box=None, pad_edge=False)
    table.add_column("files", justify="right")
    table.add_column("what is wrong, and what to do", overflow="fold")
    for finding in findings:
        severity = Text(finding.severity, style=STYLES[finding.severity])
        table.add_row(
            severity,
            finding.kind,
            finding.split,
            str(len(finding.files) or ""),
            Text(finding.sentence),
        )
        if others := [path for path in finding.files if str(path) not in finding.sentence]:
            table.add_row("", "", "", "", Text(f"the same of {listed(others)}", style="dim"))
    return table


@click.command("init")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a classes.toml that is there.")
def init(data: Path, *, force: bool) -> None:
    """Look at the masks of DATA and write a classes.toml that names what they hold."""
    from segdeploy.datasets.checks.class_map_proposal import propose
    from segdeploy.datasets.class_map import LEGEND

    path = data / LEGEND
    if path.exists() and not force:
        msg = f"{path} is there already; edit it, or replace it with --force"
        raise ConfigError(msg)
    text = propose(data)
    write_text(path, text)
    click.echo(text, nl=False)
    note(f"wrote {path}; give the classes their names there")
    next_step("segdeploy", "data", "check", data)


LONGEST = 3600.0
"""Of a drive, in seconds."""


@click.command()
@click.option(
    "--video",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw a drive with sound into this .mp4 file.",
)
@click.option(
    "--seconds",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0, LONGEST, min_open=True),
    help="Length of the drive.",
)
@click.option(
    "--fps", default=25.0, show_default=True, type=click.FloatRange(1, 120), help="Frames a second."
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Which street the drive goes through.",
)
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the drive with its true classes into this .mp4 file too.",
)
@click.option(
    "--images",
    type=click.Path(file_okay=False, path_type=Path),
    help="Draw scenes into this folder, laid out as CamVid.",
)
@click.option(
    "--weather",
    type=click.Choice(WEATHERS),
    help="Light and weather of all that is drawn.  [default: drawn by lot]",
)
@click.option(
    "--split",
    default="train",
    show_default=True,
    type=click.Choice(tuple(COUNTS)),
    help="Which scenes.",
)
@click.option(
    "--count", default=100, show_default=True, type=click.IntRange(min=1), help="How many scenes."
)
@click.option(
    "--height",
    type=click.IntRange(min=8, max=4320),
    help=f"In pixels.  [default: 720 for a drive, {HEIGHT} for scenes]",
)
@click.option(
    "--width",
    type=click.IntRange(min=8, max=7680),
    help=f"In pixels.  [default: 1280 for a drive, {WIDTH} for scenes]",
)
def render(
    *,
    video: Path | None,
    seconds: float,
    fps: float,
    seed: int,
    truth: Path | None,
    images: Path | None,
    weather: str | None,
    split: str,
    count: int,
    height: int | None,
    width: int | None,
) -> None:
    """Draw street scenes, or a drive through a street with sound."""
    if (video is None) == (images is None):
        msg = "give either --video FILE.mp4 or --images FOLDER"
        raise ConfigError(msg)
    if images is not None:
        if truth is not None:
            msg = f"--truth {truth} goes with --video; --images always writes the true classes"
            raise ConfigError(msg)
        scenes = Streets(
            split=split, count=count, height=height or HEIGHT, width=width or WIDTH, weather=weather
        )
        with progress("render", count) as step:
            save(scenes, images, on_step=step)
        click.echo(f"{count} scenes: {images / split}, {images / f'{split}annot'}")
        next_step("segdeploy", "train", "--dataset", "camvid", "--data", images)
        return
    assert video is not None
    rate = Fraction(fps).limit_denominator(1001)
    frames = max(round(seconds * rate), 1)
    with progress("render", frames) as step:
        film(
            video,
            seed=seed,
            frames=frames,
            height=height or 720,
            width=width or 1280,
            rate=rate,
            weather=weather,
            truth=truth,
            on_step=step,
        )
    click.echo(
        f"{video}: {frames} frames of {width or 1280}x{height or 720} at {float(rate):g} a second"
    )
    next_step("segdeploy", "run", "--model", "MODEL", "--video", video)


@click.command("stats")
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option(
    "--dataset",
    help="Name of the dataset; `streets` needs no folder.  [default: what lies in DATA]",
)
@click.option(
    "--chart",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw the classes as bars into this PNG.",
)
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def stats(*, data: Path | None, dataset: str | None, chart: Path | None, as_json: bool) -> None:
    """Count images, sizes and classes of a dataset.

    Give mean, deviation, and weights for the classes.
    """
    name, splits = open_splits(dataset, data)
    with progress("stats", sum(map(len, splits.values()))) as on_step:
        figures = {split: measure(samples, on_step=on_step) for split, samples in splits.items()}
    if as_json:
        click.echo(
            json.dumps(
                {
                    "dataset": name,
                    "figures": {split: found.to_dict() for split, found in figures.items()},
                },
                indent=2,
            )
        )
    else:
        Console().print(splits_table(figures), "", classes_table(figures), sep="\n")
    if chart is not None:
        from segdeploy.datasets.checks.chart import draw_classes

        draw_classes(chart, figures, splits["train"].classes)
        note(f"wrote {chart}")
    next_step(
        "segdeploy",
        "data",
        "preview",
        *([data] if data else []),
        *(["--dataset", name] if dataset else []),
        *same_plugins(),
    )
