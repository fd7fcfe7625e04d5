"""Options of a command that belong together, handed to it as one value."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

Function = Callable[..., Any]


def grouped(name: str, make: Callable[..., object], *options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Give a decorator that adds options to a command, which receives them as one value.

    Args:
        name: Under which the command takes the value.
        make: Makes the value of what was typed, by the options' own names; its SegdeployError is the command's.
        options: What `click.option` gave.
    """

    def bare() -> None:
        """Hold the options, so that click tells their names."""

    params: list[click.Parameter] = []
    for option in reversed(options):
        params = option(bare).__click_params__  # type: ignore[attr-defined]
    keys = [param.name for param in params]

    def decorate(command: Function) -> Function:
        @wraps(command)
        def call(**values: object) -> object:
            return command(
                **{key: value for key, value in values.items() if key not in keys}, **{name: make(**{key: values[key] for key in keys})}
            )

        call.__click_params__ = [*getattr(command, "__click_params__", []), *params]  # type: ignore[attr-defined]
        return call

    return decorate
