"""What a run prints: a line for each epoch, with the time left, and a table of the classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from segdeploy.card import LabelClass
from segdeploy.cli.console import add_row

from .history import Epoch

if TYPE_CHECKING:
    from rich.table import Table

    from segdeploy.metrics.scores import Scores
    from segdeploy.metrics.segmentation import ConfusionMatrix

WORST = 3
"""Classes of the lowest IoU that the line of a validated epoch names."""


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it, for example "45 s", "12 min" or "3.5 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def seconds_left(history: Sequence[Epoch], *, epochs: int, val_every: int) -> float:
    """Return how long the rest of a run will take, by its last epochs.

    Args:
        history: The epochs that are done, at least one.
        epochs: Epochs of the whole run.
        val_every: Epochs from one validation to the next; the mean is of that many.
    """
    last = history[-val_every:]
    return sum(epoch.seconds for epoch in last) / len(last) * (epochs - len(history))


def worst_classes(scores: "Scores", classes: Sequence[LabelClass]) -> str:
    """Return the classes of the lowest IoU with their IoU, the worst first; "" for one class."""
    found = sorted(
        (iou, entry.name) for iou, entry in zip(scores.iou, classes, strict=True) if iou is not None
    )
    return ", ".join(f"{name} {iou:.2f}" for iou, name in found[: min(WORST, len(found) - 1)])


def epoch_line(
    history: Sequence[Epoch],
    *,
    epochs: int,
    val_every: int,
    scores: "Scores | None",
    classes: Sequence[LabelClass],
) -> str:
    """Return one line about the last epoch: metrics, time, worst classes.

    Args:
        history: The epochs that are done, at least one.
        epochs: Epochs of the whole run.
        val_every: Epochs from one validation to the next.
        scores: Scores of the last validation.
        classes: Classes in the order of the scores.
    """
    epoch = history[-1]
    left = seconds_left(history, epochs=epochs, val_every=val_every)
    parts = [epoch.line(epochs), duration(epoch.seconds)]
    if left:
        parts.append(f"{duration(left)} left")
    if epoch.miou is not None and scores is not None and (worst := worst_classes(scores, classes)):
        parts.append(f"worst: {worst}")
    return "  ".join(parts)


def class_table(matrix: "ConfusionMatrix", classes: Sequence[LabelClass]) -> "Table":
    """Return a table with the scores of each class, for the terminal.

    Args:
        matrix: Counts of the validation.
        classes: Classes in the order of its rows.
    """
    from rich.table import Table

    table = Table("class", box=None, pad_edge=False)
    for title in ("IoU", "Dice", "labeled pixels"):
        table.add_column(title, justify="right")
    labeled = matrix.counts.sum(1)
    total = max(1, int(labeled.sum()))
    scores = matrix.scores()
    for iou, entry, pixels in zip(scores.iou, classes, labeled.tolist(), strict=True):
        cells = ("", "") if iou is None else (f"{iou:.4f}", f"{2 * iou / (1 + iou):.4f}")
        add_row(table, entry.name, *cells, f"{pixels / total:.2%}")
    add_row(table, "mean", f"{scores.miou:.4f}", f"{scores.dice:.4f}", "")
    return table
