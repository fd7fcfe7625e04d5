"""The pictures that a network is quantized by: from the split that it was trained on, spread over it, never random ones."""

from dataclasses import dataclass
from pathlib import Path

from segdeploy.card import InputSpec, ModelCard
from segdeploy.datasets import Dataset
from segdeploy.datasets.of_card import open_for
from segdeploy.datasets.sample import spread
from segdeploy.errors import ConfigError
from segdeploy.pixels import Batch, to_batch


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Pictures as the network sees them, read one at a time.

    Attributes:
        source: Name of the data set and the split.
        dataset: The split.
        indices: Which of its samples are taken.
        spec: The network's input.
    """

    source: str
    dataset: Dataset
    indices: tuple[int, ...]
    spec: InputSpec

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Batch:
        """Read one picture, (1, H, W, 3) uint8 red-green-blue; raises DataError where it cannot be used."""
        return to_batch([self.dataset[self.indices[index]].image], self.spec)

    def some(self, count: int) -> list[Batch]:
        """Read a few of the pictures, spread over all."""
        return [self[index] for index in spread(len(self), count)]


def gather_calibration(card: ModelCard, *, dataset: str | None, data: Path | None, count: int) -> Calibration:
    """Open the training split; a smaller one than was asked for is taken whole.

    Args:
        card: The network's card.
        dataset: Name of the data set; the one of the training where None.
        data: Folder of the data set; the one of the training where None.
        count: How many pictures, at least 64.

    Raises:
        ConfigError: Nothing tells what the network was trained on.
        DataError: The data set cannot be used.
    """
    if dataset is None and card.training is None:
        msg = "int8 is calibrated on the training split, and the card names no data set; name one with --dataset and --data"
        raise ConfigError(msg)
    name, split = open_for(card, dataset, data=data, split="train")
    return Calibration(source=f"{name} train", dataset=split, indices=tuple(spread(len(split), count)), spec=card.input)
