"""How long an overlay takes, beside numpy's usual way: `python -m segdeploy.benchmarks.drawing`.

Timed is the way from a 1080p frame and the class of each pixel to the overlay with palette, blend and legend. Not timed are the network,
and decoding and encoding.
"""

import time
from collections.abc import Callable
from statistics import median

import click
import cv2
import numpy as np

from segdeploy.card import LabelClass
from segdeploy.commands.invoking import invoke
from segdeploy.datasets import load
from segdeploy.machine import cores
from segdeploy.overlay import Painter, draw_legend, palette
from segdeploy.pictures import Picture
from segdeploy.pixels import resize, resize_mask
from segdeploy.scores import Mask

HEIGHT, WIDTH = 1080, 1920

Draw = Callable[[Picture, Mask], Picture]


def by_numpy(classes: tuple[LabelClass, ...]) -> Draw:
    """Give the usual way: the palette by an index array, the blend in floating point, the same prepared legend."""
    colors = palette(classes)[:, 0]
    legend = draw_legend(classes, HEIGHT, width=WIDTH)

    def draw(picture: Picture, mask: Mask) -> Picture:
        painted: Picture = (0.5 * picture + 0.5 * colors[mask]).astype(np.uint8)
        painted[: legend.shape[0], : legend.shape[1]] = legend
        return painted

    return draw


def milliseconds(draw: Draw, picture: Picture, mask: Mask) -> float:
    """Time one call."""
    start = time.perf_counter()
    draw(picture, mask)
    return 1000 * (time.perf_counter() - start)


@click.command()
@click.option("--rounds", default=25, show_default=True, type=click.IntRange(min=1), help="Measurements of each way.")
def main(rounds: int) -> None:
    """Print medians of interleaved runs at 1080p, on one core and on all that may be used."""
    streets = load("streets", None, "val")
    sample = streets[3]
    picture, mask = resize(sample.image, HEIGHT, width=WIDTH), resize_mask(sample.mask, HEIGHT, width=WIDTH)
    classes = tuple(streets.classes)
    ways: dict[str, Draw] = {
        "overlay": Painter(classes).paint,
        "overlay at an opacity of 0.4": Painter(classes, opacity=0.4).paint,
        "with contours": Painter(classes, contours=True).paint,
        "of one class": Painter(classes, only=[3]).paint,
        "numpy": by_numpy(classes),
    }
    for threads in sorted({1, cores()}):
        cv2.setNumThreads(threads)
        times = [{name: milliseconds(draw, picture, mask) for name, draw in ways.items()} for _ in range(rounds)]
        spent = ", ".join(f"{name} {median(one[name] for one in times):.1f} ms" for name in ways)
        click.echo(f"{threads} core{'s' * (threads > 1)}: {spent}")


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.drawing")
