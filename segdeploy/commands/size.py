"""A network's size on the command line."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    Pair = click.ParamType[tuple[int, int]]
else:
    # Up to click 8.3 the class takes no type.
    Pair = click.ParamType


class ImageSize(Pair):
    """A height and a width in pixels, as in "180,240", or one number for both."""

    name = "H,W"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read the text; a value that is already a pair passes."""
        if isinstance(value, tuple):
            return value
        sides = [int(side) if side.strip().isdecimal() else 0 for side in str(value).split(",")]
        if len(sides) not in {1, 2} or min(sides) < 1:
            self.fail(f"{value!r} is no size; write height,width in pixels, for example 360,480, or one number for both", param, ctx)
        return sides[0], sides[-1]
