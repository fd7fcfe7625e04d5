"""The pictures on which an exported file is proven."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from segdeploy.card import ModelCard
from segdeploy.datasets import Dataset
from segdeploy.datasets.of_card import open_for
from segdeploy.datasets.sample import spread
from segdeploy.errors import ConfigError, DataError
from segdeploy.pictures import Picture, list_pictures, read_picture
from segdeploy.scores import Mask


class Evidence(Protocol):
    """Pictures, some with truth, read one at a time."""

    @property
    def source(self) -> str:
        """Where they come from, for example "camvid val"."""
        ...

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def __getitem__(self, index: int) -> tuple[Picture, Mask | None]:
        """Read one picture, and its truth where there is one; raises DataError, with the file's name, where it cannot be used."""
        ...


@dataclass(frozen=True, kw_only=True)
class Split:
    """Samples of a data set, evenly spread.

    Attributes:
        source: Name of the data set and the split.
        dataset: The split.
        indices: Which of its samples are taken.
        with_truth: Whether its classes are the network's, so that its masks can be counted.
    """

    source: str
    dataset: Dataset
    indices: Sequence[int]
    with_truth: bool

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Picture, Mask | None]:
        sample = self.dataset[self.indices[index]]
        return sample.image, sample.mask if self.with_truth else None


@dataclass(frozen=True, kw_only=True)
class Files:
    """Pictures without truth.

    Attributes:
        source: What was named.
        paths: Path of each picture.
    """

    source: str
    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Picture, Mask | None]:
        return read_picture(self.paths[index]), None


@dataclass(frozen=True, kw_only=True)
class Some:
    """A few of other pictures.

    Attributes:
        evidence: The pictures.
        indices: Which of them are taken.
    """

    evidence: Evidence
    indices: Sequence[int]

    @property
    def source(self) -> str:
        """Where they come from."""
        return self.evidence.source

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Picture, Mask | None]:
        return self.evidence[self.indices[index]]


def gather(card: ModelCard, *, dataset: str | None, data: Path | None, files: Sequence[Path], most: int | None) -> Evidence:
    """Choose what a file is proven on: what was named; else the validation split it was trained with; else drawn streets.

    Args:
        card: The network's card.
        dataset: Name of a data set; the one of the training where None.
        data: Folder of the data set; the one of the training where None.
        files: Pictures, or folders of them, to be taken instead of a data set.
        most: Largest number of pictures, more are thinned evenly; None for all.

    Raises:
        ConfigError: Both a data set and files are named, or a folder for a network of unknown training.
        DataError: What was named cannot be used.
    """
    if files and (dataset or data):
        msg = "pictures and a data set are named for the proof; give --verify, or --dataset and --data"
        raise ConfigError(msg)
    if files:
        paths = list_pictures(files)
        return Files(source=" ".join(map(str, files)), paths=[paths[index] for index in spread(len(paths), most)])
    if dataset or data:
        return _split(card, dataset, data, most)
    if card.training is not None:
        try:
            return _split(card, None, None, most)
        except (ConfigError, DataError):
            # The folder is gone, or the data set was a plugin's: the proof goes on with pictures that are always there.
            pass
    return _split(card, "streets", None, most)


def _split(card: ModelCard, dataset: str | None, data: Path | None, most: int | None) -> Split:
    name, split = open_for(card, dataset, data=data, split="val")
    known = [label.name for label in card.classes] == [label.name for label in split.classes]
    return Split(source=f"{name} val", dataset=split, indices=spread(len(split), most), with_truth=known)
