"""The figures of a run as events for TensorBoard."""

from pathlib import Path

from segdeploy.errors import MissingExtraError

from .history import Epoch

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise MissingExtraError("tensorboard", "train") from error  # noqa: EM101 - a name, not a message


def write_events(folder: Path, epoch: Epoch) -> None:
    """Add an epoch's figures to a folder of events; a file for each epoch, so that none is left open when a run ends."""
    figures = {
        "loss/train": epoch.loss,
        "scores/miou": epoch.miou,
        "scores/pixel_accuracy": epoch.pixel_accuracy,
        "lr": epoch.lr,
        "speed/pictures_per_second": epoch.pictures_per_second,
    }
    with SummaryWriter(str(folder), filename_suffix=f".{epoch.epoch}") as writer:
        for name, value in figures.items():
            if value is not None:
                writer.add_scalar(name, value, epoch.epoch)
