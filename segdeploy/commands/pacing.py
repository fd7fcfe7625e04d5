"""Options that say how frames share the cores."""

import click

from segdeploy.commands.grouping import grouped
from segdeploy.video.pace import Pace


def read_batch(_context: click.Context, _option: click.Parameter, text: str) -> int | None:
    """Read a number, or "auto", which is None."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is no number of frames; give 1 or more, or auto"
        raise click.BadParameter(msg)
    return int(text)


pace_options = grouped(
    "pace",
    Pace,
    click.option(
        "--throughput/--latency",
        default=True,
        show_default=True,
        help="A frame a core, in parallel: the most frames a second; or all cores on one frame: its answer soonest.",
    ),
    click.option("--threads", type=click.IntRange(min=1), help="Cores of the network.  [default: as many as the process may use]"),
    click.option(
        "--batch",
        default="auto",
        show_default=True,
        callback=read_batch,
        help="Frames that the network is given at once; auto tries what a device gains by, and takes 1 on a processor.",
    ),
    click.option("--serial", is_flag=True, help="One stage after the other instead of in threads: the same result, to compare."),
)
