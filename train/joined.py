"""Two splits as one to learn from: for the last weights of a network, once every choice was made."""

from collections.abc import Sequence

from segdeploy.card import LabelClass
from segdeploy.datasets import Dataset, Sample


class Joined:
    """The samples of a data set, and after them those of another with the same classes."""

    def __init__(self, first: Dataset, second: Dataset) -> None:
        """Join two splits.

        Args:
            first: Whose samples come first, and whose classes these are.
            second: Whose samples come then.
        """
        self._first = first
        self._second = second

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the data set."""
        return self._first.classes

    @property
    def names(self) -> Sequence[str]:
        """Names of the samples."""
        return [*self._first.names, *self._second.names]

    @property
    def rule(self) -> str:
        """How the split came to be."""
        return "all pictures are learned from, also those that it is validated with"

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        before = len(self._first)
        return self._first[index] if index < before else self._second[index - before]
