"""Metrics of each epoch: CSV and TensorBoard."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from segdeploy.errors import MissingExtraError
from segdeploy.system.files import write_text

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise MissingExtraError("tensorboard", "train") from error  # noqa: EM101 - a name, not a message


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch's figures.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean loss of the steps.
        pixel_accuracy: Share of the validation pixels that are right, in [0, 1]; None where the
            epoch was not validated.
        miou: Mean intersection over union on the validation split, in [0, 1], or None.
        images_per_second: Images learned from, by the time that the learning took.
        lr: Learning rate of the last step.
        seconds: How long learning and validation took together.
    """

    epoch: int
    loss: float
    pixel_accuracy: float | None
    miou: float | None
    images_per_second: float
    lr: float
    seconds: float

    def line(self, epochs: int) -> str:
        """Say it in one line."""
        scores = (
            ""
            if self.miou is None
            else f"pixel accuracy {self.pixel_accuracy:.4f}  mIoU {self.miou:.4f}  "
        )
        return (
            f"epoch {self.epoch:{len(str(epochs))}}/{epochs}  loss {self.loss:.4f} "
            f" {scores}{self.images_per_second:.1f} images/s"
        )


def best_epoch(history: Sequence[Epoch]) -> Epoch | None:
    """Return the first of the epochs with the best mIoU; None where none was validated."""
    validated = [epoch for epoch in history if epoch.miou is not None]
    return max(validated, key=lambda epoch: epoch.miou or 0.0, default=None)


def improves(miou: float, history: Sequence[Epoch]) -> bool:
    """Return whether a score is better than all before."""
    return all(epoch.miou is None or epoch.miou < miou for epoch in history)


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Write all epochs as comma-separated values; the file is whole at every moment."""
    names = [field.name for field in fields(Epoch)]
    rows = [
        ",".join("" if value is None else f"{value:.6g}" for value in asdict(epoch).values())
        for epoch in history
    ]
    write_text(path, "\n".join([",".join(names), *rows]) + "\n")


def write_events(folder: Path, epoch: Epoch) -> None:
    """Add an epoch's figures to a folder of events.

    A file for each epoch, so that none is left open when a run ends.
    """
    figures = {
        "loss/train": epoch.loss,
        "scores/miou": epoch.miou,
        "scores/pixel_accuracy": epoch.pixel_accuracy,
        "lr": epoch.lr,
        "speed/pictures_per_second": epoch.images_per_second,
    }
    with SummaryWriter(str(folder), filename_suffix=f".{epoch.epoch}") as writer:
        for name, value in figures.items():
            if value is not None:
                writer.add_scalar(name, value, epoch.epoch)
