"""Values of a command's options for a program that calls it as a function."""

from collections.abc import Collection, Mapping
from typing import Any

import click

from segdeploy.errors import ConfigError


def option_values(
    command: click.Command, given: Mapping[str, Any], *, without: Collection[str] = ()
) -> dict[str, Any]:
    """Return what a command's function would get: its defaults, and the values of a program.

    Args:
        command: The command.
        given: Values by the names of its parameters, which are converted and checked as those of
            a command line; several in a list or a tuple.
        without: Parameters that a program cannot give.

    Raises:
        ConfigError: A name is unknown, or a value is impossible.
    """
    params = {param.name: param for param in command.params if param.expose_value}
    known = {str(name) for name in params} - set(without)
    if unknown := sorted(given.keys() - known):
        msg = f"there is no option {unknown[0]!r}; known are {', '.join(sorted(known))}"
        raise ConfigError(msg)
    values = {}
    for name, value in given.items():
        takes_several = params[name].multiple or params[name].nargs == -1
        is_single = takes_several and not isinstance(value, list | tuple)
        values[name] = (value,) if is_single else value
    try:
        return command.make_context(command.name, [], default_map=values).params
    except click.UsageError as error:
        raise ConfigError(error.format_message()) from error
