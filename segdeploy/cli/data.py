"""The commands `segdeploy data init | check | stats`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdeploy.cli.console import add_row, echo, next_step, note, progress, show
from segdeploy.cli.options import (
    Command,
    json_option,
    option,
    plugin_option,
    same_plugins,
    section,
)
from segdeploy.errors import ConfigError, DataError
from segdeploy.system.files import write_text

if TYPE_CHECKING:
    from rich.table import Table

    from segdeploy.datasets.checks.check import CheckReport
    from segdeploy.datasets.checks.finding import Finding
    from segdeploy.datasets.checks.statistics import SplitStatistics
    from segdeploy.datasets.index import DatasetIndex

SIZES_SHOWN = 3
"""Image sizes that a table lists; the others are counted."""

STYLES = {"error": "bold red", "warning": "yellow"}


@click.command("init", cls=Command)
@click.argument("data", type=click.Path(path_type=Path))
@section("Output", option("--force", is_flag=True, help="Replace an existing classes.toml."))
def init(data: Path, *, force: bool) -> None:
    """Write a classes.toml from the masks of the folder DATA, for you to name the classes."""
    from segdeploy.datasets.checks.class_map_proposal import propose_class_map
    from segdeploy.datasets.class_map import CLASS_MAP_FILE

    path = data / CLASS_MAP_FILE
    if path.exists() and not force:
        msg = f"{path} exists already; edit it, or replace it with --force"
        raise ConfigError(msg)
    text = propose_class_map(data)
    write_text(path, text)
    echo(text, nl=False)
    note(f"wrote {path}; name the classes there")
    next_step("segdeploy", "data", "check", data)


@click.command("check", cls=Command)
@click.argument("data", type=click.Path(path_type=Path))
@section(
    "Dataset",
    option(
        "--dataset",
        show_default="detected from the files in DATA",
        help="Name of the dataset's layout.",
    ),
    option(
        "--quick",
        is_flag=True,
        help="Check names, sizes and a few images only, as training does at its start.",
    ),
)
@section("Output", json_option("findings and statistics"))
@plugin_option
def check_data(*, data: Path, dataset: str | None, quick: bool, as_json: bool) -> None:
    """Find problems of the dataset in the folder DATA that would harm training.

    Every file is read once. The exit code is 3 where there is an error; warnings do not count.
    """
    from segdeploy.datasets.checks.check import CheckReport, check, quick_check
    from segdeploy.datasets.checks.detect import detect_layout
    from segdeploy.datasets.checks.split import index_splits
    from segdeploy.datasets.registry import layout

    chosen = layout(dataset) if dataset else detect_layout(data)
    indexes, missing = index_splits(chosen, data)
    count = _count(indexes)
    note(f"{data} holds {count} images of {chosen.name} ({', '.join(indexes)})")
    if quick:
        report = CheckReport(findings=tuple(quick_check(indexes)), statistics={})
    else:
        with progress("check", count) as step:
            report = check(indexes, on_step=step)
    report = replace(report, findings=(*missing, *report.findings))
    if as_json:
        values = {"dataset": chosen.name, "data": str(data), **report.to_dict()}
        echo(json.dumps(values, indent=2))
    else:
        print_report(report)
    if report.errors:
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in report.errors))
        msg = f"{data} has errors that would harm training ({kinds}); correct them and check again"
        raise DataError(msg)
    plugins = same_plugins()
    next_step(
        "segdeploy", "train", *plugins, "--dataset", chosen.name, "--data", data, extra="train"
    )


def _count(indexes: Mapping[str, "DatasetIndex"]) -> int:
    return sum(len(index.pairs) for index in indexes.values())


@click.command("stats", cls=Command)
@click.argument("data", required=False, type=click.Path(path_type=Path))
@section(
    "Dataset",
    option(
        "--dataset",
        show_default="detected from the files in DATA",
        help="Name of the dataset; `streets` needs no folder.",
    ),
)
@section(
    "Output",
    json_option("the statistics"),
    option(
        "--chart",
        type=click.Path(dir_okay=False, path_type=Path),
        help="PNG file for a bar chart of the classes.",
    ),
)
@plugin_option
def stats(*, data: Path | None, dataset: str | None, chart: Path | None, as_json: bool) -> None:
    """Count images, sizes and classes of a dataset.

    Also prints mean and standard deviation of the colors, and class weights for the loss.
    """
    from segdeploy.datasets.checks.detect import open_splits
    from segdeploy.datasets.checks.split import compute_statistics

    name, splits = open_splits(dataset, data)
    with progress("stats", sum(map(len, splits.values()))) as step:
        statistics = {
            split: compute_statistics(samples, on_step=step) for split, samples in splits.items()
        }
    if as_json:
        by_split = {split: values.to_dict() for split, values in statistics.items()}
        echo(json.dumps({"dataset": name, "figures": by_split}, indent=2))
    else:
        show(splits_table(statistics), "", classes_table(statistics))
    if chart is not None:
        from segdeploy.datasets.checks.chart import draw_classes

        draw_classes(chart, statistics, splits["train"].classes)
        note(f"wrote {chart}")
    folder = [data] if data else []
    named = ["--dataset", name] if dataset else []
    next_step("segdeploy", "data", "preview", *folder, *named, *same_plugins())


def print_report(report: "CheckReport") -> None:
    """Print findings and statistics."""
    from rich.text import Text

    if report.statistics:
        show(splits_table(report.statistics), "", classes_table(report.statistics), "")
    if report.findings:
        show(findings_table(report.findings))
    else:
        show(Text("no problems found", style="green"))


def splits_table(statistics: Mapping[str, "SplitStatistics"]) -> "Table":
    """Return a table with a row for each split."""
    from rich.table import Table

    table = Table("split", box=None, pad_edge=False)
    for title in ("images", "masks", "labeled"):
        table.add_column(title, justify="right")
    for title in ("sizes", "mean of red, green, blue", "standard deviation"):
        table.add_column(title)
    for split, values in statistics.items():
        add_row(
            table,
            split,
            str(values.images),
            str(values.masks),
            f"{values.labeled:.1%}" if values.masks else "",
            _format_sizes(values.sizes),
            _format_channels(values.mean),
            _format_channels(values.std),
        )
    return table


def _format_sizes(sizes: Mapping[str, int]) -> str:
    shown = [
        size if len(sizes) == 1 else f"{size} ({count})"
        for size, count in list(sizes.items())[:SIZES_SHOWN]
    ]
    more = [f"{len(sizes) - SIZES_SHOWN} more"] if len(sizes) > SIZES_SHOWN else []
    return ", ".join(shown + more)


def _format_channels(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def classes_table(statistics: Mapping[str, "SplitStatistics"]) -> "Table":
    """Return a table with a row for each class.

    Its columns are the share of the labeled pixels and the number of images in each split, and
    class weights of the first split.
    """
    from rich.table import Table

    table = Table("class", box=None, pad_edge=False)
    labeled = {split: values for split, values in statistics.items() if values.masks}
    for split in labeled:
        table.add_column(f"{split}, pixels", justify="right")
        table.add_column("images", justify="right")
    for title in ("weight, ENet", "weight, median"):
        table.add_column(title, justify="right")
    for entries in zip(*(values.classes for values in labeled.values()), strict=True):
        shares = [cell for entry in entries for cell in (f"{entry.share:.2%}", str(entry.images))]
        weights = [
            "" if weight is None else f"{weight:.2f}"
            for weight in (entries[0].weight, entries[0].median_weight)
        ]
        add_row(table, entries[0].name, *shares, *weights)
    return table


def findings_table(findings: Sequence["Finding"]) -> "Table":
    """Return a table with a row for each finding, and below it the files that it does not name."""
    from rich.table import Table
    from rich.text import Text

    from segdeploy.datasets.index import listed

    table = Table("", "kind", "split", box=None, pad_edge=False)
    table.add_column("files", justify="right")
    table.add_column("problem, and what to do", overflow="fold")
    for finding in findings:
        add_row(
            table,
            Text(finding.severity, style=STYLES[finding.severity]),
            finding.kind,
            finding.split,
            str(len(finding.files) or ""),
            finding.sentence,
        )
        if others := [path for path in finding.files if str(path) not in finding.sentence]:
            add_row(table, "", "", "", "", Text(f"also in {listed(others)}", style="dim"))
    return table
