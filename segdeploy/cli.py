"""The command line: a group that names its commands as text, so that help costs no import of them."""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from segdeploy import __version__
from segdeploy.errors import InterruptedRun, SegdeployError

# name: (module, attribute, first line of its help)
COMMANDS = {
    "train": ("segdeploy.train.command", "train", "Train a network on pictures with truth."),
    "eval": ("segdeploy.commands.eval", "evaluate", "Score any artifact on a data set, at the pictures' own size."),
    "export": ("segdeploy.export.command", "export", "Turn a checkpoint into a file for another runtime, and prove it."),
    "run": ("segdeploy.commands.run", "run", "Segment pictures or a video."),
    "benchmark": ("segdeploy.benchmarks.command", "benchmark", "Measure accuracy and latency of artifacts; write a report."),
    "inspect": ("segdeploy.commands.inspect", "inspect", "Show the card of an artifact."),
    "verify": ("segdeploy.commands.verify", "verify", "Check that an artifact still answers as it was exported."),
    "models": ("segdeploy.commands.models", "models", "List the networks."),
    "data": ("segdeploy.commands.data", "data", "Look at data sets, or draw one."),
    "doctor": ("segdeploy.commands.doctor", "doctor", "Show versions, devices and the cores that may be used."),
}


class LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order of a journey."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def cli() -> None:
    """Semantic segmentation from training to a running camera."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error of ours becomes one line on stderr and its own exit code."""
    # numpy's BLAS reads these when it is first imported: a second pool beside the runtime's costs a factor of two.
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    try:
        cli.main(args=None if arguments is None else list(arguments), prog_name="segdeploy", standalone_mode=False)
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


