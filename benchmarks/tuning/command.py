"""The command `segdeploy tune`."""

import click

from segdeploy.cli.options import Command, options

from .options import TuneOptions, tune_options


@click.command(cls=Command)
@tune_options
@options(TuneOptions)
def tune(options: TuneOptions) -> None:
    """Find the file and the settings of MODEL that keep a budget on this machine.

    A checkpoint is exported in every format, precision and size, each file with its proof. Of any
    other file, only the settings are searched. What is chosen is written as tuned.toml, which run,
    benchmark and serve take with --tuned; the exit code is 6 if nothing keeps the budget.
    """
    # Help imports no network and no film.
    from .run import run

    run(options)
