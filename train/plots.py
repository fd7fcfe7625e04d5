"""What people look at: curves, and pictures beside their truth and the network's answer."""

from collections.abc import Sequence
from pathlib import Path

import cv2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from segdeploy.atomic import replacing
from segdeploy.card import LabelClass
from segdeploy.datasets import Dataset
from segdeploy.overlay import colorize
from segdeploy.predictor import Predictor

from .history import Epoch

SAMPLES = 4
LOSS_COLOR = "#b3541e"
MIOU_COLOR = "#1f5f99"


def draw_curves(path: Path, history: Sequence[Epoch]) -> None:
    """Draw loss and scores over the epochs, side by side, as PNG."""
    epochs = [epoch.epoch for epoch in history]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [epoch.loss for epoch in history], color=LOSS_COLOR, marker=".")
    left.set(title="loss, training", ylim=(0, None))
    scored = [(epoch.epoch, epoch.miou, epoch.pixel_accuracy) for epoch in history if epoch.miou is not None]
    right.plot([row[0] for row in scored], [row[1] for row in scored], color=MIOU_COLOR, marker=".", label="mIoU")
    right.plot([row[0] for row in scored], [row[2] for row in scored], color=MIOU_COLOR, alpha=0.45, linestyle="--", label="pixel accuracy")
    right.set(title="scores, validation", ylim=(0, 1))
    right.legend(loc="lower right", frameon=False)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    save(path, figure)


def draw_samples(path: Path, predictor: Predictor, samples: Dataset) -> None:
    """Draw pictures evenly taken from a data set: picture, truth and prediction side by side, as PNG.

    Args:
        path: Where to.
        predictor: What answers the pictures.
        samples: Usually the validation split.
    """
    count = min(SAMPLES, len(samples))
    chosen = [samples[number * len(samples) // count] for number in range(count)]
    height, width = chosen[0].mask.shape
    figure = Figure(figsize=(12, count * 4 * height / width + 1), layout="constrained")
    grid = figure.subplots(count, 3, squeeze=False)
    for row, sample in zip(grid, chosen, strict=True):
        answer = predictor.mask(sample.image)
        shown = (sample.image, colorize(sample.mask, samples.classes), colorize(answer, samples.classes))
        for axes, picture in zip(row, shown, strict=True):
            axes.imshow(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            axes.set_axis_off()
    for axes, title in zip(grid[0], ("picture", "truth", "prediction"), strict=True):
        axes.set_title(title)
    add_legend(figure, samples.classes)
    save(path, figure)


def add_legend(figure: Figure, classes: Sequence[LabelClass]) -> None:
    """Name the classes' colors below everything."""
    patches = [Patch(color="#{:02x}{:02x}{:02x}".format(*entry.color), label=entry.name) for entry in classes]
    figure.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False)


def save(path: Path, figure: Figure) -> None:
    """Write a figure whole, or leave the old one as it was."""
    with replacing(path) as part:
        FigureCanvasAgg(figure).print_figure(part, format="png", dpi=110)
