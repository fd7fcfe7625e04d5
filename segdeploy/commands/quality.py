"""Options that buy better masks for time."""

import click

from segdeploy.backends.views import FACTORS, VIEWS
from segdeploy.card import ModelCard
from segdeploy.commands.drawing import split
from segdeploy.errors import ConfigError
from segdeploy.video.smoothing import SMOOTHERS, Steadying, make_smoother


def read_views(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Read a list as in "flip,scales"."""
    views = split(text or "")
    unknown = [view for view in views if view not in VIEWS]
    if unknown:
        msg = f"{unknown[0]!r} is no way to look at a picture; choose from {','.join(VIEWS)}"
        raise click.BadParameter(msg)
    return views


def make_steadying(smooth: str | None, card: ModelCard, *, is_film: bool) -> Steadying | None:
    """Give what steadies the answers of a film, or None where nobody asked for it.

    Raises:
        ConfigError: The source is no film, or the network's answers cannot be weighed.
    """
    if smooth is None:
        return None
    if not is_film:
        msg = f"pictures do not follow each other in time; leave out --smooth {smooth}, which is for videos and cameras"
        raise ConfigError(msg)
    return Steadying(make_smoother(smooth, card))


tta_option = click.option(
    "--tta",
    "views",
    callback=read_views,
    metavar=",".join(VIEWS),
    help=f"Average over more views of each picture: in the mirror, and at {' and '.join(map(str, FACTORS))} of the size.",
)

smooth_option = click.option(
    "--smooth",
    type=click.Choice(SMOOTHERS),
    help="Against flicker in films: a moving average of the answers, or a lead for the class that a place has. How much it helps is told.",
)
