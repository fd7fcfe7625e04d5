"""Plots of a run, as PNG: curves, samples, confusion matrix, IoU per class."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from segdeploy.card import LabelClass
from segdeploy.datasets.checks.chart import PLAIN_TEXT
from segdeploy.datasets.dataset import Dataset, evenly_spaced
from segdeploy.imaging.contrast import view
from segdeploy.imaging.overlay import colorize
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.segmentation import ConfusionMatrix
from segdeploy.system.files import replacing

from .history import Epoch

SAMPLES = 4
"""Images of the validation split that are drawn."""

MAX_PRINTED = 20
"""Classes up to which the cells of the confusion matrix have numbers; more cannot be read."""

DARK = 0.5
"""Share from which on a cell is so dark that its number is white."""

LOSS_COLOR = "#b3541e"
MIOU_COLOR = "#1f5f99"


def draw_scores(
    folder: Path, history: Sequence[Epoch], best: ConfusionMatrix, classes: Sequence[LabelClass]
) -> None:
    """Draw the metrics of a run so far: curves.png, confusion.png and classes.png.

    Args:
        folder: Where they are written.
        history: The epochs that are done.
        best: Counts of the best validation; nothing is drawn of them while all are 0.
        classes: Classes in the order of its rows.
    """
    if history:
        draw_curves(folder / "curves.png", history)
    if best.counts.any():
        draw_confusion(folder / "confusion.png", best, classes)
        draw_classes(folder / "classes.png", best, classes)


def draw_curves(path: Path, history: Sequence[Epoch]) -> None:
    """Draw loss and scores over the epochs."""
    epochs = [epoch.epoch for epoch in history]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [epoch.loss for epoch in history], color=LOSS_COLOR, marker=".")
    left.set(title="loss, training", ylim=(0, None))
    scored = [
        (epoch.epoch, epoch.miou, epoch.pixel_accuracy)
        for epoch in history
        if epoch.miou is not None
    ]
    right.plot(
        [row[0] for row in scored],
        [row[1] for row in scored],
        color=MIOU_COLOR,
        marker=".",
        label="mIoU",
    )
    right.plot(
        [row[0] for row in scored],
        [row[2] for row in scored],
        color=MIOU_COLOR,
        alpha=0.45,
        linestyle="--",
        label="pixel accuracy",
    )
    right.set(title="scores, validation", ylim=(0, 1))
    right.legend(loc="lower right", frameon=False)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    save(path, figure)


@rc_context(PLAIN_TEXT)
def draw_samples(path: Path, predictor: Predictor, samples: Dataset) -> None:
    """Draw some images of a dataset beside their labels and predictions.

    Args:
        path: PNG file to write.
        predictor: The network.
        samples: Usually the validation split.
    """
    chosen = [samples[index] for index in evenly_spaced(len(samples), SAMPLES)]
    height, width = chosen[0].mask.shape
    figure = Figure(figsize=(12, len(chosen) * 4 * height / width + 1), layout="constrained")
    grid = figure.subplots(len(chosen), 3, squeeze=False)
    for row, sample in zip(grid, chosen, strict=True):
        prediction = predictor.mask(sample.image)
        shown = (
            view(sample.image, predictor.card.input),
            colorize(sample.mask, samples.classes),
            colorize(prediction, samples.classes),
        )
        for axes, image in zip(row, shown, strict=True):
            axes.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            axes.set_axis_off()
    for axes, title in zip(grid[0], ("image", "labels", "prediction"), strict=True):
        axes.set_title(title)
    add_legend(figure, samples.classes)
    save(path, figure)


def add_legend(figure: Figure, classes: Sequence[LabelClass]) -> None:
    """Add a legend of the classes below all plots."""
    patches = [
        Patch(color="#{:02x}{:02x}{:02x}".format(*entry.color), label=entry.name)
        for entry in classes
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False)


def save(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as part:
        FigureCanvasAgg(figure).print_figure(part, format="png", dpi=110)


@rc_context(PLAIN_TEXT)
def draw_confusion(path: Path, matrix: ConfusionMatrix, classes: Sequence[LabelClass]) -> None:
    """Draw a confusion matrix as shares of each row, the pixels of one label.

    A class that never occurs has an empty row.
    """
    counts = matrix.counts.astype(np.float64)
    pixels = counts.sum(1, keepdims=True)
    shares = np.divide(counts, pixels, out=np.full_like(counts, np.nan), where=pixels > 0)
    names = [entry.name for entry in classes]
    side = 3 + 0.45 * len(names)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(title="share of each class's pixels, validation", xlabel="prediction", ylabel="label")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    if len(names) <= MAX_PRINTED:
        for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
            share = shares[row, column]
            axes.text(
                column,
                row,
                f"{share:.2f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if share > DARK else "black",
            )
    save(path, figure)


@rc_context(PLAIN_TEXT)
def draw_classes(path: Path, matrix: ConfusionMatrix, classes: Sequence[LabelClass]) -> None:
    """Draw the IoU of each class as a bar of its color, and the mean as a line."""
    scores = matrix.scores()
    figure = Figure(figsize=(7, 1.4 + 0.28 * len(classes)), layout="constrained")
    axes = figure.subplots()
    values = [0.0 if value is None else value for value in scores.iou]
    colors = ["#{:02x}{:02x}{:02x}".format(*entry.color) for entry in classes]
    axes.barh(range(len(classes)), values, color=colors, edgecolor="#808080", linewidth=0.5)
    for row, value in enumerate(scores.iou):
        axes.text(
            values[row] + 0.01,
            row,
            "does not occur" if value is None else f"{value:.3f}",
            va="center",
            fontsize=8,
        )
    axes.axvline(scores.miou, color="#808080", linestyle="--", linewidth=1)
    axes.set(title=f"intersection over union, validation; mean {scores.miou:.3f}", xlim=(0, 1.08))
    axes.set_yticks(range(len(classes)), [entry.name for entry in classes])
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    save(path, figure)
