"""Lazy command group; errors become one line and an exit code."""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence

import click

from segdeploy import __version__
from segdeploy.errors import InterruptedRun, SegdeployError
from segdeploy.system.machine import POOLS


def invoke(command: click.Command, arguments: Sequence[str] | None = None, *, name: str) -> None:
    """Run a command and end the process as shells expect it where something is wrong.

    Args:
        command: What to run.
        arguments: Its words, or None for those of the process.
        name: What a user types to call it.
    """
    try:
        command.main(
            args=None if arguments is None else list(arguments),
            prog_name=name,
            standalone_mode=False,
        )
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


Table = Mapping[str, tuple[str, str, str]]
"""Name of a command: its module, the attribute there, and the first line of its help."""

COMMANDS: Table = {
    "train": ("segdeploy.train.command", "train", "Train a network on images with truth."),
    "eval": (
        "segdeploy.cli.eval",
        "evaluate",
        "Score any artifact on a dataset, at the images' own size.",
    ),
    "export": (
        "segdeploy.export.command",
        "export",
        "Turn a checkpoint into a file for another runtime, and prove it.",
    ),
    "adopt": (
        "segdeploy.export.adopt_command",
        "adopt",
        "Give a foreign ONNX file, or foreign weights, a card.",
    ),
    "run": ("segdeploy.cli.run", "run", "Segment images or a video."),
    "benchmark": (
        "segdeploy.benchmarks.command",
        "benchmark",
        "Measure accuracy and latency of artifacts; write a report.",
    ),
    "compare": (
        "segdeploy.cli.compare",
        "compare",
        "Show where two artifacts give other labels, and how often.",
    ),
    "inspect": ("segdeploy.cli.inspect", "inspect", "Show the card of an artifact."),
    "verify": (
        "segdeploy.cli.verify",
        "verify",
        "Check that an artifact still answers as it was exported.",
    ),
    "models": ("segdeploy.cli.models", "models", "List the networks."),
    "data": ("segdeploy.cli.main", "data", "Look at datasets, or draw one."),
    "doctor": (
        "segdeploy.cli.doctor",
        "doctor",
        "Show versions, devices and the cores that may be used.",
    ),
}

DATA_COMMANDS: Table = {
    "init": ("segdeploy.cli.data", "init", "Describe your own masks: write classes.toml."),
    "check": ("segdeploy.cli.data", "check_data", "Look for what would spoil a training."),
    "stats": ("segdeploy.cli.data", "stats", "Count images, sizes and classes."),
    "preview": (
        "segdeploy.train.preview",
        "preview",
        "Draw images with their truth on one sheet.",
    ),
    "speed": (
        "segdeploy.train.loading_speed",
        "speed",
        "Measure how fast samples are read for training.",
    ),
    "render": (
        "segdeploy.cli.data",
        "render",
        "Draw a drive through a street, or scenes with truth.",
    ),
}


class LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    table: Table = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order of a journey."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import one command."""
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in self.table.items()])


class DataGroup(LazyGroup):
    """The commands below `segdeploy data`."""

    table = DATA_COMMANDS


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__)
def cli() -> None:
    """Semantic segmentation from training to a running camera."""


@click.group(cls=DataGroup)
def data() -> None:
    """Look at datasets, or draw one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error of ours becomes one line on stderr and its own exit code."""
    for variable, value in POOLS.items():
        os.environ.setdefault(variable, value)
    invoke(cli, arguments, name="segdeploy")
