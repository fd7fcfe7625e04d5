"""The command `segdeploy models`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from segdeploy.cli.options import plugin_option

if TYPE_CHECKING:
    from segdeploy.models.complexity import Cost


CLASSES = 19
HEIGHT = 512
WIDTH = 1024


@click.command()
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def models(*, as_json: bool) -> None:
    """List the networks: parameters, GFLOPs at 512x1024 with 19 classes, and stride.

    The stride is the number of which an image's sides must be multiples.
    """
    from segdeploy.models.complexity import measure_complexity
    from segdeploy.models.registry import names

    costs = {
        name: measure_complexity(name, classes=CLASSES, height=HEIGHT, width=WIDTH)
        for name in names()
    }
    if as_json:
        click.echo(
            json.dumps([{"name": name, **asdict(cost)} for name, cost in costs.items()], indent=2)
        )
        return
    show(costs)


def show(costs: Mapping[str, "Cost"]) -> None:
    """Print a line a network."""
    table = Table("name", box=None)
    for title in ("parameters", f"GFLOPs at {HEIGHT}x{WIDTH}", "stride"):
        table.add_column(title, justify="right")
    for name, cost in costs.items():
        table.add_row(name, f"{cost.parameters:,}", f"{cost.gflops:.1f}", str(cost.stride))
    Console().print(table)
