"""How long the exact mask takes, beside PyTorch's: `python -m segdeploy.benchmarks.masks`.

Timed is the way from logits in memory to labels at 1024x2048. Not timed is the network.
"""

import time
from collections.abc import Callable
from statistics import median

import click
import cv2
import numpy as np
import torch
from torch.nn import functional

from segdeploy.datasets import load
from segdeploy.machine import cores
from segdeploy.pixels import Logits, to_mask
from segdeploy.scores import Mask

HEIGHT, WIDTH, CLASSES = 1024, 2048, 19
RUNS = 9


def scene(stride: int, index: int) -> Logits:
    """Make logits such as a trained network gives: a drawn street's classes with soft edges and a little noise, (1, 19, h, w)."""
    height, width = HEIGHT // stride, WIDTH // stride
    mask = cv2.resize(load("streets", None, "val")[index].mask, (width, height), interpolation=cv2.INTER_NEAREST)
    random = np.random.default_rng(index)
    planes = [cv2.GaussianBlur((mask == k).astype(np.float32), (0, 0), 1.0) for k in range(CLASSES)]
    return 10 * np.stack(planes)[None] + random.normal(0, 0.1, (1, CLASSES, height, width)).astype(np.float32)


def by_torch(logits: Logits) -> Mask:
    """Enlarge every plane and take the best class: what `to_mask` must equal."""
    planes = functional.interpolate(torch.from_numpy(logits), (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
    return planes.argmax(1)[0].to(torch.uint8).numpy()


def ours(logits: Logits) -> Mask:
    """Find the same labels by the corners of each cell."""
    return to_mask(logits, HEIGHT, WIDTH)


def seconds(act: Callable[[Logits], Mask], logits: Logits) -> float:
    """Time one call."""
    start = time.perf_counter()
    act(logits)
    return time.perf_counter() - start


@click.command()
def main() -> None:
    """Print medians of interleaved runs, their ratio, and how many labels differ, for logits of stride 4 and 8."""
    torch.set_num_threads(cores())
    for stride in (4, 8):
        logits = scene(stride, stride)
        different = int(np.count_nonzero(by_torch(logits) != ours(logits)))
        pairs = [(seconds(by_torch, logits), seconds(ours, logits)) for _ in range(RUNS)]
        slow, fast = (1000 * median(column) for column in zip(*pairs, strict=True))
        ratio = median(one / other for one, other in pairs)
        click.echo(f"stride {stride}: torch {slow:.0f} ms, to_mask {fast:.1f} ms, {ratio:.0f} times as fast; {different} labels differ")


if __name__ == "__main__":
    main()
