"""Metrics of each epoch, and their table (CSV)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from segdeploy.system.files import write_text
from segdeploy.system.schema import convert

RENAMED_KEYS = {"pictures_per_second": "images_per_second"}
"""Keys of version 0.1.0 in the states of interrupted runs."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Metrics of one epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        loss: Mean loss of the steps.
        pixel_accuracy: Share of the validation pixels that are correct, in [0, 1]; None where the
            epoch was not validated.
        miou: Mean intersection over union on the validation split, in [0, 1], or None.
        images_per_second: Throughput of training, without validation.
        lr: Learning rate of the last step.
        seconds: Duration of training and validation.
    """

    epoch: int
    loss: float
    pixel_accuracy: float | None
    miou: float | None
    images_per_second: float
    lr: float
    seconds: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the epoch of what `dataclasses.asdict` returned; a ValueError says why not."""
        renamed = {RENAMED_KEYS.get(key, key): value for key, value in values.items()}
        return convert(renamed, cls, refuse=ValueError)

    def line(self, epochs: int) -> str:
        """Return the metrics in one line, for a run of so many epochs."""
        scores = (
            ""
            if self.miou is None
            else f"pixel accuracy {self.pixel_accuracy:.4f}  mIoU {self.miou:.4f}  "
        )
        return (
            f"epoch {self.epoch:{len(str(epochs))}}/{epochs}  loss {self.loss:.4f}"
            f"  {scores}{self.images_per_second:.1f} images/s"
        )


def best_epoch(history: Sequence[Epoch]) -> Epoch | None:
    """Return the first of the epochs with the best mIoU; None where none was validated."""
    validated = [epoch for epoch in history if epoch.miou is not None]
    return max(validated, key=lambda epoch: epoch.miou or 0.0, default=None)


def improves(miou: float, history: Sequence[Epoch]) -> bool:
    """Return whether a score is better than all before."""
    return all(epoch.miou is None or epoch.miou < miou for epoch in history)


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Write the metrics of all epochs as comma-separated values."""
    names = [field.name for field in fields(Epoch)]
    rows = [
        ",".join("" if value is None else f"{value:.6g}" for value in asdict(epoch).values())
        for epoch in history
    ]
    write_text(path, "\n".join([",".join(names), *rows]) + "\n")
