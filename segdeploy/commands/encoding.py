"""Options that say how a written video is compressed."""

import click

from segdeploy.commands.grouping import grouped
from segdeploy.video.codecs import CODECS, Encoding


def scale(attribute: str) -> str:
    """List an attribute of each codec, for a line of help."""
    return ", ".join(f"{name} {getattr(codec, attribute)}" for name, codec in CODECS.items())


encoding_options = grouped(
    "encoding",
    Encoding,
    click.option("--codec", default="h264", show_default=True, type=click.Choice(list(CODECS)), help="How the video is compressed."),
    click.option(
        "--crf", type=click.IntRange(min=0), help=f"Quality; 0 is the best, the worst is {scale('worst')}.  [default: {scale('crf')}]"
    ),
    click.option("--preset", help=f"Slower ones make the video smaller: ultrafast to veryslow, or a number.  [default: {scale('preset')}]"),
)
