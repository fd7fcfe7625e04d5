"""The command `segdeploy data check`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from segdeploy.checks.finding import Finding
from segdeploy.checks.quick import quick_check
from segdeploy.checks.recognition import recognize
from segdeploy.checks.split import survey_all
from segdeploy.checks.whole import Report, check
from segdeploy.commands.data_figures import classes_table, splits_table
from segdeploy.commands.plugin import plugin_option, same_plugins
from segdeploy.console import next_step, note, progress
from segdeploy.datasets import layout
from segdeploy.datasets.layout import Survey, listed
from segdeploy.errors import DataError

STYLES = {"error": "bold red", "warning": "yellow"}


@click.command("check")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--dataset", help="Name of the data set.  [default: what lies in DATA]")
@click.option("--quick", is_flag=True, help="Look at names, sizes and a few pictures only, as training does at its start.")
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print findings and figures as JSON.")
def check_data(*, data: Path, dataset: str | None, quick: bool, as_json: bool) -> None:
    """Look for what would spoil a training in the data set that lies in DATA.

    Every file is read once. Exit code 3 says that something would spoil it; warnings alone do not.
    """
    chosen = layout(dataset) if dataset else recognize(data)
    surveys, missing = survey_all(chosen, data)
    note(f"{data} holds {_count(surveys)} pictures of {chosen.name} ({', '.join(surveys)})")
    report = Report(findings=tuple(quick_check(surveys)), figures={}) if quick else _check(surveys)
    report = replace(report, findings=(*missing, *report.findings))
    if as_json:
        click.echo(json.dumps({"dataset": chosen.name, "data": str(data), **report.to_dict()}, indent=2))
    else:
        show(report)
    if report.errors:
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in report.errors))
        msg = f"{data} would spoil a training ({kinds}); mend what is listed as error and check again"
        raise DataError(msg)
    next_step("segdeploy", "train", *same_plugins(), "--dataset", chosen.name, "--data", data)


def _count(surveys: Mapping[str, Survey]) -> int:
    return sum(len(survey.pairs) for survey in surveys.values())


def _check(surveys: Mapping[str, Survey]) -> Report:
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
        table.add_row(severity, finding.kind, finding.split, str(len(finding.files) or ""), Text(finding.sentence))
        if others := [path for path in finding.files if str(path) not in finding.sentence]:
            table.add_row("", "", "", "", Text(f"the same of {listed(others)}", style="dim"))
    return table
