"""Metrics of each epoch."""

from dataclasses import asdict
from pathlib import Path

from segdeploy.train.history import Epoch, write_history

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


def test_epoch_of_the_first_version_is_read() -> None:
    """States of interrupted runs have the throughput under the key that it had then."""
    old = asdict(EPOCH)
    old["pictures_per_second"] = old.pop("images_per_second")

    assert Epoch.from_dict(old) == EPOCH
