"""Metrics of each epoch."""

from dataclasses import asdict
from pathlib import Path

import pytest

from segdeploy.train.history import Epoch, write_events, write_history

EPOCH = Epoch(
    epoch=3,
    loss=0.51234,
    pixel_accuracy=0.9,
    miou=0.5,
    images_per_second=12.34,
    lr=1e-05,
    seconds=2.5,
)


def test_line_holds_the_metrics() -> None:
    """Aligned in columns."""
    assert (
        EPOCH.line(40)
        == "epoch  3/40  loss 0.5123  pixel accuracy 0.9000  mIoU 0.5000  12.3 images/s"
    )


def test_results_can_be_read_by_any_program(tmp_path: Path) -> None:
    """Comma-separated, with a header."""
    write_history(tmp_path / "results.csv", [EPOCH])

    assert (
        (tmp_path / "results.csv").read_text()
        == "epoch,loss,pixel_accuracy,miou,images_per_second,lr,seconds\n"
        "3,0.51234,0.9,0.5,12.34,1e-05,2.5\n"
    )


@pytest.mark.slow
def test_tensorboard_reads_the_metrics(tmp_path: Path) -> None:
    """An epoch that was not validated has no scores; none of the numbers is written twice."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    metrics = {"loss": 0.5, "images_per_second": 8.0, "lr": 0.25, "seconds": 2.0}

    write_events(tmp_path, Epoch(epoch=1, pixel_accuracy=None, miou=None, **metrics))
    write_events(tmp_path, Epoch(epoch=2, pixel_accuracy=0.75, miou=0.5, **metrics))

    events = reading.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/train")] == [
        (1, 0.5),
        (2, 0.5),
    ]
    assert [(event.step, event.value) for event in events.Scalars("scores/miou")] == [(2, 0.5)]
    assert [(event.step, event.value) for event in events.Scalars("lr")] == [(1, 0.25), (2, 0.25)]


def test_epoch_of_the_first_version_is_read() -> None:
    """States of interrupted runs have the throughput under the key that it had then."""
    old = asdict(EPOCH)
    old["pictures_per_second"] = old.pop("images_per_second")

    assert Epoch.from_dict(old) == EPOCH
