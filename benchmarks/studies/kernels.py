"""Mask and overlay kernels against torch, OpenCV, numpy.

Timed is the way from a 1080p frame and the class of each pixel to the overlay with palette, blend
and legend. Not timed are the network, and decoding and encoding.

Timed is the way from logits in memory to labels. Not timed is the network.
"""

import time
from collections.abc import Callable
from statistics import median

import click
import cv2
import numpy as np
import torch
from torch.nn import functional

from segdeploy.arrays import Image, Logits, Mask
from segdeploy.card import LabelClass
from segdeploy.cli.main import invoke
from segdeploy.datasets.registry import load
from segdeploy.imaging.overlay import Painter, draw_legend, palette
from segdeploy.imaging.postprocess import to_mask
from segdeploy.imaging.preprocess import resize, resize_mask
from segdeploy.system.machine import cores

FRAME_HEIGHT, FRAME_WIDTH = 1080, 1920

Draw = Callable[[Image, Mask], Image]


def by_numpy(classes: tuple[LabelClass, ...]) -> Draw:
    """Return the usual way: the palette by an index array, the blend in floating point, the same prepared legend."""
    colors = palette(classes)[:, 0]
    legend = draw_legend(classes, FRAME_HEIGHT, width=FRAME_WIDTH)

    def draw(picture: Image, mask: Mask) -> Image:
        painted: Image = (0.5 * picture + 0.5 * colors[mask]).astype(np.uint8)
        painted[: legend.shape[0], : legend.shape[1]] = legend
        return painted

    return draw


def milliseconds(draw: Draw, picture: Image, mask: Mask) -> float:
    """Time one call."""
    start = time.perf_counter()
    draw(picture, mask)
    return 1000 * (time.perf_counter() - start)


@click.command()
@click.option(
    "--rounds",
    default=25,
    show_default=True,
    type=click.IntRange(min=1),
    help="Measurements of each way.",
)
def overlay(rounds: int) -> None:
    """Print medians of interleaved runs at 1080p, on one core and on all that may be used."""
    streets = load("streets", None, "val")
    sample = streets[3]
    picture, mask = (
        resize(sample.image, FRAME_HEIGHT, width=FRAME_WIDTH),
        resize_mask(sample.mask, FRAME_HEIGHT, width=FRAME_WIDTH),
    )
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
        times = [
            {name: milliseconds(draw, picture, mask) for name, draw in ways.items()}
            for _ in range(rounds)
        ]
        spent = ", ".join(f"{name} {median(one[name] for one in times):.1f} ms" for name in ways)
        click.echo(f"{threads} core{'s' * (threads > 1)}: {spent}")


HEIGHT, WIDTH, CLASSES = 1024, 2048, 19
# Height and width of noise's logits, and of its mask: whole ratios, and one that is none.
NOISE = ((128, 256, 1024, 2048), (256, 512, 1024, 2048), (128, 256, 1080, 1920))

Variant = Callable[[Logits, int, int], Mask]
"""From logits (1, K, h, w) to a mask of the given height and width."""


def scene(stride: int, index: int) -> Logits:
    """Make logits such as a trained network gives.

    A drawn street's classes with soft edges and a little noise, (1, 19, h, w).
    """
    height, width = HEIGHT // stride, WIDTH // stride
    mask = cv2.resize(
        load("streets", None, "val")[index].mask, (width, height), interpolation=cv2.INTER_NEAREST
    )
    random = np.random.default_rng(index)
    planes = [cv2.GaussianBlur((mask == k).astype(np.float32), (0, 0), 1.0) for k in range(CLASSES)]
    return 10 * np.stack(planes)[None] + random.normal(0, 0.1, (1, CLASSES, height, width)).astype(
        np.float32
    )


def noise(height: int, width: int) -> Logits:
    """Make logits of a network that knows nothing, (1, 19, height, width).

    Every class may win anywhere.
    """
    return np.random.default_rng(0).standard_normal((1, CLASSES, height, width)).astype(np.float32)


def by_torch(logits: Logits, height: int, width: int) -> Mask:
    """Enlarge every plane and take the best class: what `to_mask` must equal."""
    planes = functional.interpolate(
        torch.from_numpy(logits), (height, width), mode="bilinear", align_corners=False
    )
    return planes.argmax(1)[0].to(torch.uint8).numpy()


def by_opencv(logits: Logits, height: int, width: int) -> Mask:
    """Enlarge class by class with OpenCV and keep the best so far: the fastest usual way."""
    best = cv2.resize(logits[0, 0], (width, height), interpolation=cv2.INTER_LINEAR)
    plane, labels, better = (
        np.empty_like(best),
        np.zeros((height, width), np.uint8),
        np.empty((height, width), np.uint8),
    )
    for index in range(1, logits.shape[1]):
        cv2.resize(logits[0, index], (width, height), dst=plane, interpolation=cv2.INTER_LINEAR)
        cv2.compare(plane, best, cv2.CMP_GT, dst=better)
        cv2.max(best, plane, dst=best)
        cv2.max(labels, np.bitwise_and(better, np.uint8(index), out=better), dst=labels)
    return labels


def seconds(act: Variant, logits: Logits, height: int, width: int) -> float:
    """Time one call."""
    start = time.perf_counter()
    act(logits, height, width)
    return time.perf_counter() - start


def compare(name: str, logits: Logits, *, height: int, width: int, rounds: int) -> str:
    """Measure the three ways by turns, and say what came of it."""
    ways: dict[str, Variant] = {"torch": by_torch, "OpenCV": by_opencv, "to_mask": to_mask}
    different = int(
        np.count_nonzero(by_torch(logits, height, width) != to_mask(logits, height, width))
    )
    times = [
        {way: seconds(act, logits, height, width) for way, act in ways.items()}
        for _ in range(rounds)
    ]
    spent = ", ".join(f"{way} {1000 * median(one[way] for one in times):.1f} ms" for way in ways)
    ratios = [median(one[way] / one["to_mask"] for one in times) for way in ("torch", "OpenCV")]
    return (
        f"{name}: {spent}; {ratios[0]:.0f} and {ratios[1]:.2f} times as fast; {different} labels of"
        f" {height * width} differ from torch's"
    )


@click.command()
@click.option(
    "--rounds",
    default=9,
    show_default=True,
    type=click.IntRange(min=1),
    help="Measurements of each way.",
)
def masks(rounds: int) -> None:
    """Print medians of interleaved runs, their ratios, and how many labels differ, for scenes and for noise, 19 classes."""
    torch.set_num_threads(cores())
    cv2.setNumThreads(cores())
    for stride in (4, 8):
        click.echo(
            compare(
                f"scene, stride {stride}",
                scene(stride, stride),
                height=HEIGHT,
                width=WIDTH,
                rounds=rounds,
            )
        )
    for h, w, height, width in NOISE:
        click.echo(
            compare(
                f"noise, {h}x{w} to {height}x{width}",
                noise(h, w),
                height=height,
                width=width,
                rounds=rounds,
            )
        )


@click.group()
def main() -> None:
    """Measure one of these."""


main.add_command(overlay, "overlay")
main.add_command(masks, "masks")


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.kernels")
