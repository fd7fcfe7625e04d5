"""How any command of this package is called: an error of ours becomes one line on stderr and its own exit code."""

import sys
from collections.abc import Sequence

import click

from segdeploy.errors import InterruptedRun, SegdeployError


def invoke(command: click.Command, arguments: Sequence[str] | None = None, *, name: str) -> None:
    """Run a command and end the process as shells expect it where something is wrong.

    Args:
        command: What to run.
        arguments: Its words, or None for those of the process.
        name: What a user types to call it.
    """
    try:
        command.main(args=None if arguments is None else list(arguments), prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("segdeploy: interrupted", err=True)
        sys.exit(InterruptedRun.exit_code)
    except SegdeployError as error:
        click.echo(f"segdeploy: {error}", err=True)
        sys.exit(error.exit_code)
