"""The command `segdeploy data init`."""

from pathlib import Path

import click

from segdeploy.atomic import write_text
from segdeploy.console import next_step, note
from segdeploy.errors import ConfigError


@click.command("init")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace a classes.toml that is there.")
def init(data: Path, *, force: bool) -> None:
    """Look at the masks of DATA and write a classes.toml that names what they hold."""
    from segdeploy.datasets.legend import LEGEND
    from segdeploy.datasets.proposal import propose

    path = data / LEGEND
    if path.exists() and not force:
        msg = f"{path} is there already; edit it, or replace it with --force"
        raise ConfigError(msg)
    text = propose(data)
    write_text(path, text)
    click.echo(text, nl=False)
    note(f"wrote {path}; give the classes their names there")
    next_step("segdeploy", "data", "check", data)
