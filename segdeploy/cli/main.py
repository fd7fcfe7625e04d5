"""The command line: a table of commands, each imported when it is called, and exit codes."""

import importlib
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import click

from segdeploy import __version__
from segdeploy.cli.console import drop_unwritten, echo, note, open_streams
from segdeploy.cli.options import Context
from segdeploy.errors import InterruptedRun, SegdeployError
from segdeploy.system.cache import cache_folders
from segdeploy.system.machine import BLAS_THREADS


def invoke(command: click.Command, arguments: Sequence[str] | None = None, *, name: str) -> None:
    """Run a command; an error is printed as one line and ends the process with its exit code.

    What the encoding of a terminal or a file lacks is printed as its number.

    Args:
        command: The command.
        arguments: Its arguments; None for those of the process.
        name: Name of the program in messages.
    """
    open_streams()
    try:
        command.main(
            args=None if arguments is None else list(arguments),
            prog_name=name,
            standalone_mode=False,
        )
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            usage = f"{error.ctx.get_usage()}\nTry '{error.ctx.command_path} --help' for help.\n"
            echo(usage, err=True)
        note(f"segdeploy: {error.format_message()}")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        note("segdeploy: interrupted")
        sys.exit(InterruptedRun.exit_code)
    except SegdeployError as error:
        note(f"segdeploy: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        # What the system refuses, and no other place knows more about. Libraries also report
        # damaged files as an OSError, without a number.
        if error.errno is None:
            raise
        what = f"cannot use {error.filename}" if error.filename else "the system refused a request"
        note(f"segdeploy: {what}: {error.strerror}; check names, rights and free space")
        sys.exit(SegdeployError.exit_code)
    finally:
        drop_unwritten()


Table = Mapping[str, tuple[str, str, str]]
"""Module, attribute and description of each command, by its name."""

COMMANDS: Table = {
    "train": ("segdeploy.train.command", "train", "Train a network on labeled images."),
    "eval": (
        "segdeploy.cli.eval",
        "evaluate",
        "Score a model on a dataset, at the images' own size.",
    ),
    "export": (
        "segdeploy.export.command",
        "export",
        "Convert a checkpoint for another runtime, and prove the result.",
    ),
    "adopt": (
        "segdeploy.export.adopt.command",
        "adopt",
        "Give a network of another project a model card: a file, weights, a folder.",
    ),
    "run": ("segdeploy.cli.run", "run", "Segment images, a video or a camera."),
    "batch": (
        "segdeploy.cli.batch",
        "batch",
        "Segment many images and videos, also on many machines, by Ray.",
    ),
    "serve": (
        "segdeploy.cli.serve",
        "serve",
        "Serve models over HTTP and gRPC, with a page to look at.",
    ),
    "benchmark": (
        "segdeploy.benchmarks.command",
        "benchmark",
        "Measure accuracy and latency of models, and write a report.",
    ),
    "tune": (
        "segdeploy.benchmarks.tuning.command",
        "tune",
        "Find the file and the settings that keep a budget on this machine.",
    ),
    "compare": (
        "segdeploy.cli.compare",
        "compare",
        "Show where two models give different labels, and how often.",
    ),
    "inspect": ("segdeploy.cli.inspect", "inspect", "Show the model card of a file."),
    "verify": (
        "segdeploy.cli.inspect",
        "verify",
        "Check that a file and its output are those of the export.",
    ),
    "models": ("segdeploy.cli.models", "models", "List the networks."),
    "data": ("segdeploy.cli.main", "data", "Check a dataset, describe it, or render one."),
    "doctor": (
        "segdeploy.cli.doctor",
        "doctor",
        "Show versions, devices and available cores.",
    ),
}

DATA_COMMANDS: Table = {
    "init": ("segdeploy.cli.data", "init", "Write a classes.toml from your own masks."),
    "check": ("segdeploy.cli.data", "check_data", "Find problems that would harm training."),
    "stats": ("segdeploy.cli.data", "stats", "Count images, sizes and classes."),
    "preview": (
        "segdeploy.train.preview",
        "preview",
        "Draw images with their labels on one sheet.",
    ),
    "speed": (
        "segdeploy.train.loading_speed",
        "speed",
        "Measure how fast samples are read for training.",
    ),
    "render": (
        "segdeploy.cli.data_render",
        "render",
        "Render a video of a synthetic street, or labeled scenes.",
    ),
}

FIRST_STEPS: Mapping[str, str] = {
    "segdeploy run VIDEO": "Draw what a video of yours shows, by the bundled model for streets.",
    "segdeploy data render --video street.mp4": "Make a video, if you have none.",
    "segdeploy train --data FOLDER": "Train a network on your own images and masks.",
    "segdeploy doctor": "Show what is installed, and what is missing for that.",
}
"""Commands with which a new user may begin, and what they do."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and lists all without any import."""

    context_class = Context
    table: Table = COMMANDS
    first_steps: Mapping[str, str] = FIRST_STEPS

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of a workflow."""
        return list(self.table)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Return a command, imported now; None where there is none of that name."""
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands and their descriptions."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self.table.items()])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write first steps, the commands, then the options of the group itself."""
        if self.first_steps:
            with formatter.section("First steps"):
                formatter.write_dl([*self.first_steps.items()])
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)


class DataGroup(LazyGroup):
    """The commands below `segdeploy data`."""

    table = DATA_COMMANDS
    first_steps = MappingProxyType({})


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__)
def cli() -> None:
    """Semantic segmentation from training to a running camera."""


@click.group(cls=DataGroup)
def data() -> None:
    """Check a dataset, describe it, or render one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `segdeploy`; an error is printed as one line on stderr and has its own exit code."""
    for variable, value in {**BLAS_THREADS, **cache_folders()}.items():
        os.environ.setdefault(variable, value)
    # Of damaged metadata, which is not used; a damaged image is an error.
    warnings.filterwarnings("ignore", module="PIL")
    invoke(cli, arguments, name="segdeploy")
