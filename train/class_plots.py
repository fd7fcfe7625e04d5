"""Which classes are found, and for which others they are taken."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from segdeploy.card import LabelClass
from segdeploy.scores import ConfusionMatrix

from .plots import save

PRINTED = 20
"""Classes up to which every share of the confusion matrix is printed into its cell; more would not be readable."""

DARK = 0.5
"""Share from which on a cell is so dark that its number is white."""


def draw_confusion(path: Path, matrix: ConfusionMatrix, classes: Sequence[LabelClass]) -> None:
    """Draw a confusion matrix, truth by row, as shares of each row, as PNG; a class that never occurs has an empty row."""
    counts = matrix.counts.astype(np.float64)
    pixels = counts.sum(1, keepdims=True)
    shares = np.divide(counts, pixels, out=np.full_like(counts, np.nan), where=pixels > 0)
    names = [entry.name for entry in classes]
    side = 3 + 0.45 * len(names)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(title="share of each class's pixels, validation", xlabel="answer", ylabel="truth")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    if len(names) <= PRINTED:
        for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
            share = shares[row, column]
            axes.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=7, color="white" if share > DARK else "black")
    save(path, figure)


def draw_classes(path: Path, matrix: ConfusionMatrix, classes: Sequence[LabelClass]) -> None:
    """Draw each class's intersection over union as a bar of its color, and their mean as a line, as PNG."""
    scores = matrix.scores()
    figure = Figure(figsize=(7, 1.4 + 0.28 * len(classes)), layout="constrained")
    axes = figure.subplots()
    values = [0.0 if value is None else value for value in scores.iou]
    colors = ["#{:02x}{:02x}{:02x}".format(*entry.color) for entry in classes]
    axes.barh(range(len(classes)), values, color=colors, edgecolor="#808080", linewidth=0.5)
    for row, value in enumerate(scores.iou):
        axes.text(values[row] + 0.01, row, "does not occur" if value is None else f"{value:.3f}", va="center", fontsize=8)
    axes.axvline(scores.miou, color="#808080", linestyle="--", linewidth=1)
    axes.set(title=f"intersection over union, validation; mean {scores.miou:.3f}", xlim=(0, 1.08))
    axes.set_yticks(range(len(classes)), [entry.name for entry in classes])
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    save(path, figure)
