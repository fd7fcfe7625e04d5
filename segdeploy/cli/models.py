"""The command `segdeploy models`, and the bundled model that suits the machine."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdeploy import assets
from segdeploy.cli.console import add_row, echo, note, show
from segdeploy.cli.options import Command, json_option, plugin_option, section
from segdeploy.errors import MissingExtraError

if TYPE_CHECKING:
    from segdeploy.models.complexity import Complexity

CLASSES = 19
HEIGHT = 512
WIDTH = 1024


@click.command(cls=Command)
@section("Output", json_option("the list"))
@plugin_option
def models(*, as_json: bool) -> None:
    """List the networks: parameters, GFLOPs at 512x1024 with 19 classes, and stride.

    Height and width of an image must be multiples of the stride.
    """
    try:
        from segdeploy.models.complexity import measure_complexity
        from segdeploy.models.registry import names
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "train") from error

    costs = {
        name: measure_complexity(name, classes=CLASSES, height=HEIGHT, width=WIDTH)
        for name in names()
    }
    if as_json:
        rows = [{"name": name, **asdict(cost)} for name, cost in costs.items()]
        echo(json.dumps(rows, indent=2))
    else:
        print_costs(costs)


def print_costs(costs: Mapping[str, "Complexity"]) -> None:
    """Print a table with a row for each network."""
    from rich.table import Table

    table = Table("name", box=None)
    for title in ("parameters", f"GFLOPs at {HEIGHT}x{WIDTH}", "stride"):
        table.add_column(title, justify="right")
    for name, cost in costs.items():
        add_row(table, name, f"{cost.parameters:,}", f"{cost.gflops:.1f}", str(cost.stride))
    show(table)


def bundled_model(device: str) -> Path:
    """Return the bundled model that suits a device, and print its name and terms.

    Args:
        device: Value of `--device`.

    Raises:
        ModelError: This installation has no bundled model.
        DeviceError: There is no such device.
    """
    # `--help` needs no OpenCV.
    from segdeploy.backends.loading import bundled_name

    name = bundled_name(device)
    path = assets.find(name, assets.folder())
    note(
        f"no --model given: using the bundled model {name} ({assets.TERMS}; see segdeploy inspect"
        f" {name})"
    )
    return path
