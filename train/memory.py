"""Samples that were read once are kept, as far as there is room."""

from collections.abc import Sequence

from segdeploy.card import LabelClass
from segdeploy.datasets import Dataset, Sample


class Remembered:
    """A data set that reads each sample once, and again only those for which there was no room.

    Each process remembers for itself. Nothing is ever forgotten: where every sample is asked for once an epoch,
    dropping one for another gains nothing.
    """

    def __init__(self, samples: Dataset, room: float) -> None:
        """Start with nothing remembered.

        Args:
            samples: Where the samples come from.
            room: Bytes of pictures and masks that may be kept.
        """
        self._samples = samples
        self._room = room
        self._kept: dict[int, Sample] = {}

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the data set."""
        return self._samples.classes

    @property
    def names(self) -> Sequence[str]:
        """Names of the samples."""
        return self._samples.names

    @property
    def rule(self) -> str:
        """How the split came to be."""
        return self._samples.rule

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        """Give a sample, which must not be changed in place; raises DataError where it cannot be used."""
        if index in self._kept:
            return self._kept[index]
        sample = self._samples[index]
        size = sample.image.nbytes + sample.mask.nbytes
        if size <= self._room:
            self._room -= size
            self._kept[index] = sample
        return sample
