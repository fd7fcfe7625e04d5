"""The commands `segdeploy data ...`."""

import click

from segdeploy.commands.data_render import render


@click.group()
def data() -> None:
    """Look at data sets, or draw one."""


data.add_command(render)
