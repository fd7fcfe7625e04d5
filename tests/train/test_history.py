"""Figures, epoch by epoch."""

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


def test_a_line_says_what_the_epoch_gave() -> None:
    """Aligned, so that the eye runs down the columns."""
    assert (
        EPOCH.line(40)
        == "epoch  3/40  loss 0.5123  pixel accuracy 0.9000  mIoU 0.5000  12.3 images/s"
    )


def test_results_can_be_read_by_any_program(tmp_path: Path) -> None:
    """Comma-separated, with a head."""
    write_history(tmp_path / "results.csv", [EPOCH])

    assert (
        (tmp_path / "results.csv").read_text()
        == "epoch,loss,pixel_accuracy,miou,pictures_per_second,lr,seconds\n3,0.51234,0.9,0.5,12.34,1e-05,2.5\n"
    )
