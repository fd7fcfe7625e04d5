"""Lists on the command line."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    Numbers = click.ParamType[tuple[int, ...]]
else:
    # Up to click 8.3 the class takes no type.
    Numbers = click.ParamType


class Counts(Numbers):
    """One whole number from 1 on, or several with commas, each once."""

    name = "N,N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read the text; a value that is already a tuple passes."""
        if isinstance(value, tuple):
            return value
        numbers = [int(part) if part.strip().isdecimal() else 0 for part in str(value).split(",")]
        if min(numbers) < 1:
            self.fail(f"{value!r} is no list of numbers from 1 on; write for example 1,2", param, ctx)
        return tuple(dict.fromkeys(numbers))
