"""Options of `segdeploy run`: what is saved of each frame, and how it is drawn."""

import click

from segdeploy.arrays import Image
from segdeploy.cli.options import NameList, grouped, option, section
from segdeploy.imaging.overlay import KINDS, MAP_KINDS
from segdeploy.imaging.palettes import PALETTES
from segdeploy.imaging.render_options import RenderOptions, read_background

DEFAULTS = RenderOptions()


def to_background(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> Image | None:
    """Return a color such as "00ff00" as one pixel, or the image of a path."""
    return None if text is None else read_background(text)


render_options = grouped(
    "render",
    RenderOptions,
    section(
        "Output",
        option(
            "--save",
            "kinds",
            default=",".join(DEFAULTS.kinds),
            type=NameList((*KINDS, *MAP_KINDS)),
            help=f"What is saved: {', '.join(KINDS)}, with --tile also {', '.join(MAP_KINDS)};"
            " several with commas.",
        ),
    ),
    section(
        "Renderer",
        option(
            "--opacity",
            default=DEFAULTS.opacity,
            type=click.FloatRange(0, 1),
            help="Opacity of the colors in the overlay.",
        ),
        option(
            "--legend/--no-legend",
            default=DEFAULTS.legend,
            help="Whether the overlay has a legend.",
        ),
        option(
            "--contours", is_flag=True, help="Draw the outlines of the regions in opaque colors."
        ),
        option(
            "--classes",
            "names",
            default=(),
            type=NameList(),
            help="Show these classes only, for example road,car.",
        ),
        option(
            "--palette",
            help=(
                f"Other colors: {', '.join(PALETTES)}, or a TOML file with lines such as"
                ' road = "#804080".'
            ),
        ),
        option(
            "--background",
            callback=to_background,
            show_default="transparent",
            help="Background of a cutout: a color such as 00ff00, or an image.",
        ),
        option(
            "--min-area",
            default=DEFAULTS.min_area,
            type=click.IntRange(min=1),
            help="Leave smaller regions out of geojson, gpkg and coco, in pixels.",
        ),
    ),
)
