"""Mask and overlay kernels against torch, OpenCV and numpy.

`python -m segdeploy.benchmarks.studies.kernels masks|overlay`.

`masks` times the step from logits in memory to a mask, `overlay` the step from a 1080p frame and
its mask to the overlay with palette, blend and legend. The network, decoding and encoding are not
timed.
"""

import time
from collections.abc import Callable, Mapping
from statistics import median

import click
import cv2
import numpy as np
import torch
from torch.nn import functional

from segdeploy.arrays import Image, Logits, Mask
from segdeploy.card import LabelClass
from segdeploy.cli.console import echo
from segdeploy.cli.main import invoke
from segdeploy.datasets.registry import load
from segdeploy.imaging.overlay import Painter, draw_legend, palette
from segdeploy.imaging.postprocess import to_mask
from segdeploy.imaging.preprocess import resize, resize_mask
from segdeploy.system.machine import cores

FRAME_HEIGHT, FRAME_WIDTH = 1080, 1920

HEIGHT, WIDTH, CLASSES = 1024, 2048, 19

NOISE = ((128, 256, 1024, 2048), (256, 512, 1024, 2048), (128, 256, 1080, 1920))
"""Height and width of random logits and of their mask: whole ratios, and one that is not."""

Draw = Callable[[Image, Mask], Image]
"""From a frame and its mask to the overlay."""

ToMask = Callable[[Logits, int, int], Mask]
"""From logits (1, K, h, w) to a mask of the given height and width."""


@click.group()
def main() -> None:
    """Compare a kernel with the usual implementations."""


def milliseconds(call: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def time_in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> list[dict[str, float]]:
    """Time calls in turn, and return the milliseconds of each in each round."""
    return [{name: milliseconds(call) for name, call in calls.items()} for _ in range(rounds)]


def medians(times: list[dict[str, float]]) -> str:
    """Return the median of each call as text."""
    return ", ".join(
        f"{name} {median(round_[name] for round_ in times):.1f} ms" for name in times[0]
    )


@main.command()
@click.option(
    "--rounds",
    default=9,
    show_default=True,
    type=click.IntRange(min=1),
    help="Measurements of each implementation.",
)
def masks(rounds: int) -> None:
    """Print times, their ratios and the differing labels, for scenes and for noise, 19 classes."""
    torch.set_num_threads(cores())
    cv2.setNumThreads(cores())
    for stride in (4, 8):
        logits = scene(stride, stride)
        name = f"scene, stride {stride}"
        echo(compare_masks(name, logits, height=HEIGHT, width=WIDTH, rounds=rounds))
    for h, w, height, width in NOISE:
        name = f"noise, {h}x{w} to {height}x{width}"
        echo(compare_masks(name, noise(h, w), height=height, width=width, rounds=rounds))


def scene(stride: int, index: int) -> Logits:
    """Return logits as of a trained network, (1, 19, h, w).

    The classes of a drawn street with blurred edges and a little noise.
    """
    height, width = HEIGHT // stride, WIDTH // stride
    mask = cv2.resize(
        load("streets", None, "val")[index].mask, (width, height), interpolation=cv2.INTER_NEAREST
    )
    random = np.random.default_rng(index)
    planes = [cv2.GaussianBlur((mask == k).astype(np.float32), (0, 0), 1.0) for k in range(CLASSES)]
    deviations = random.normal(0, 0.1, (1, CLASSES, height, width)).astype(np.float32)
    return 10 * np.stack(planes)[None] + deviations


def noise(height: int, width: int) -> Logits:
    """Return random logits, (1, 19, height, width): any class may be the best anywhere."""
    return np.random.default_rng(0).standard_normal((1, CLASSES, height, width)).astype(np.float32)


def compare_masks(name: str, logits: Logits, *, height: int, width: int, rounds: int) -> str:
    """Time three implementations in turn, and return medians, ratios and differing labels."""
    functions: dict[str, ToMask] = {"torch": by_torch, "OpenCV": by_opencv, "to_mask": to_mask}
    differing = int(
        np.count_nonzero(by_torch(logits, height, width) != to_mask(logits, height, width))
    )
    calls = {
        key: lambda function=function: function(logits, height, width)
        for key, function in functions.items()
    }
    times = time_in_turns(calls, rounds)
    ratios = [
        median(round_[other] / round_["to_mask"] for round_ in times)
        for other in ("torch", "OpenCV")
    ]
    return (
        f"{name}: {medians(times)}; to_mask is {ratios[0]:.0f} times as fast as torch and"
        f" {ratios[1]:.2f} times as OpenCV; {differing} of {height * width} labels differ from"
        " torch's"
    )


def by_torch(logits: Logits, height: int, width: int) -> Mask:
    """Upsample every plane and take the argmax: the result that `to_mask` must equal."""
    planes = functional.interpolate(
        torch.from_numpy(logits), (height, width), mode="bilinear", align_corners=False
    )
    return planes.argmax(1)[0].to(torch.uint8).numpy()


def by_opencv(logits: Logits, height: int, width: int) -> Mask:
    """Upsample class by class with OpenCV and keep the best so far, the fastest common method."""
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


@main.command()
@click.option(
    "--rounds",
    default=25,
    show_default=True,
    type=click.IntRange(min=1),
    help="Measurements of each implementation.",
)
def overlay(rounds: int) -> None:
    """Print medians at 1080p, on one core and on all that may be used."""
    streets = load("streets", None, "val")
    sample = streets[3]
    image = resize(sample.image, FRAME_HEIGHT, width=FRAME_WIDTH)
    mask = resize_mask(sample.mask, FRAME_HEIGHT, width=FRAME_WIDTH)
    classes = tuple(streets.classes)
    functions: dict[str, Draw] = {
        "overlay": Painter(classes).paint,
        "overlay at an opacity of 0.4": Painter(classes, opacity=0.4).paint,
        "with contours": Painter(classes, contours=True).paint,
        "of one class": Painter(classes, only=[3]).paint,
        "numpy": numpy_overlay(classes),
    }
    calls = {
        name: lambda function=function: function(image, mask)
        for name, function in functions.items()
    }
    for threads in sorted({1, cores()}):
        cv2.setNumThreads(threads)
        times = time_in_turns(calls, rounds)
        echo(f"{threads} core{'s' * (threads > 1)}: {medians(times)}")


def numpy_overlay(classes: tuple[LabelClass, ...]) -> Draw:
    """Return the common method: indexed palette, floating-point blend, the same prepared legend."""
    colors = palette(classes)[:, 0]
    legend = draw_legend(classes, FRAME_HEIGHT, width=FRAME_WIDTH)

    def draw(image: Image, mask: Mask) -> Image:
        blended: Image = (0.5 * image + 0.5 * colors[mask]).astype(np.uint8)
        blended[: legend.shape[0], : legend.shape[1]] = legend
        return blended

    return draw


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.kernels")
