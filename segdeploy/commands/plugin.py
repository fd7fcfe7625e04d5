"""The option `--plugin`, which several commands have."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from segdeploy.plugins import LOADED, load_plugin

F = TypeVar("F", bound=Callable[..., Any])


def load_all(_context: click.Context, _option: click.Parameter, names: Sequence[str]) -> None:
    """Load what was named, before any other option is looked at."""
    for name in names:
        load_plugin(name)


def same_plugins() -> list[str]:
    """Give the options by which a further command loads what this one has loaded."""
    return [word for name in LOADED for word in ("--plugin", name)]


def plugin_option(command: F) -> F:
    """Give a command the option `--plugin MODULE`; its function learns nothing of it."""
    option = click.option(
        "--plugin",
        multiple=True,
        metavar="MODULE",
        expose_value=False,
        is_eager=True,
        callback=load_all,
        help="Module, or .py file, that registers networks or data sets of your own; may be given more than once.",
    )
    return option(command)
