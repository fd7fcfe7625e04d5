"""The command `segdeploy data stats`."""

import json
from pathlib import Path

import click
from rich.console import Console

from segdeploy.checks.recognition import open_splits
from segdeploy.checks.split import measure
from segdeploy.commands.data_figures import classes_table, splits_table
from segdeploy.commands.plugin import plugin_option, same_plugins
from segdeploy.console import next_step, note, progress


@click.command("stats")
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--dataset", help="Name of the data set; `streets` needs no folder.  [default: what lies in DATA]")
@click.option("--chart", type=click.Path(dir_okay=False, path_type=Path), help="Also draw the classes as bars into this PNG.")
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def stats(*, data: Path | None, dataset: str | None, chart: Path | None, as_json: bool) -> None:
    """Count pictures, sizes and classes of a data set; give mean, deviation, and weights for the classes."""
    name, splits = open_splits(dataset, data)
    with progress("stats", sum(map(len, splits.values()))) as on_step:
        figures = {split: measure(samples, on_step=on_step) for split, samples in splits.items()}
    if as_json:
        click.echo(json.dumps({"dataset": name, "figures": {split: found.to_dict() for split, found in figures.items()}}, indent=2))
    else:
        Console().print(splits_table(figures), "", classes_table(figures), sep="\n")
    if chart is not None:
        from segdeploy.checks.chart import draw_classes

        draw_classes(chart, figures, splits["train"].classes)
        note(f"wrote {chart}")
    next_step("segdeploy", "data", "preview", *([data] if data else []), *(["--dataset", name] if dataset else []), *same_plugins())
