"""What a run prints while it trains, and at its end."""

from dataclasses import replace

import pytest
from rich.console import Console

from segdeploy.metrics.segmentation import ConfusionMatrix
from segdeploy.train.history import Epoch
from segdeploy.train.summary import class_table, duration, epoch_line, seconds_left
from tests.helpers.cards import make_classes

EPOCH = Epoch(
    epoch=1,
    loss=0.5,
    pixel_accuracy=None,
    miou=None,
    images_per_second=12.34,
    lr=1e-05,
    seconds=10.0,
)
VALIDATED = replace(EPOCH, epoch=2, miou=0.5, pixel_accuracy=0.9, seconds=30.0)
CLASSES = make_classes("sky", "road", "pole", "never")


def counted() -> ConfusionMatrix:
    """IoU 4 / 4, 3 / 6 and 1 / 4 of the first three classes."""
    matrix = ConfusionMatrix(4)
    matrix.counts[0, 0] = 4
    matrix.counts[1, 1], matrix.counts[1, 2] = 3, 1
    matrix.counts[2, 2], matrix.counts[2, 1] = 1, 2
    return matrix


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.54, "2.5 s"), (45, "45 s"), (119, "119 s"), (120, "2 min"), (12600, "3.5 h")],
)
def test_durations_have_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_time_left_counts_epochs_with_validation_and_without() -> None:
    """Ten epochs at 20 s on average; not those at 30 s, nor those at 10 s."""
    assert seconds_left([EPOCH, VALIDATED], epochs=12, val_every=2) == 200.0
    assert seconds_left([EPOCH, VALIDATED], epochs=2, val_every=2) == 0.0


def test_line_of_an_epoch_tells_the_time_left_and_the_worst_classes() -> None:
    """A class that never occurs is not among them."""
    scores = counted().scores()

    line = epoch_line([EPOCH, VALIDATED], epochs=12, val_every=2, scores=scores, classes=CLASSES)
    unvalidated = epoch_line([EPOCH], epochs=1, val_every=2, scores=scores, classes=CLASSES)

    assert line.endswith("images/s  30 s  3 min left  worst: pole 0.25, road 0.50")
    assert unvalidated.endswith("images/s  10 s")


def test_table_has_the_scores_of_each_class() -> None:
    """Dice is twice the IoU by one more than it."""
    console = Console(width=60)
    with console.capture() as capture:
        console.print(class_table(counted(), CLASSES))

    rows = [line.split() for line in capture.get().splitlines()]
    assert rows == [
        ["class", "IoU", "Dice", "labeled", "pixels"],
        ["sky", "1.0000", "1.0000", "36.36%"],
        ["road", "0.5000", "0.6667", "36.36%"],
        ["pole", "0.2500", "0.4000", "27.27%"],
        ["never", "0.00%"],
        ["mean", "0.5833", "0.6889", ""][:3],
    ]
