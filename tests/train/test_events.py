"""TensorBoard reads what was written."""

from pathlib import Path

import pytest

from segdeploy.train.history import Epoch, write_events


@pytest.mark.slow
def test_tensorboard_reads_the_figures(tmp_path: Path) -> None:
    """An epoch that was not validated has no scores; none of the numbers is written twice."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    figures = {"loss": 0.5, "pictures_per_second": 8.0, "lr": 0.25, "seconds": 2.0}

    write_events(tmp_path, Epoch(epoch=1, pixel_accuracy=None, miou=None, **figures))
    write_events(tmp_path, Epoch(epoch=2, pixel_accuracy=0.75, miou=0.5, **figures))

    events = reading.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/train")] == [
        (1, 0.5),
        (2, 0.5),
    ]
    assert [(event.step, event.value) for event in events.Scalars("scores/miou")] == [(2, 0.5)]
    assert [(event.step, event.value) for event in events.Scalars("lr")] == [(1, 0.25), (2, 0.25)]
