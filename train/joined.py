"""Several data sets as one to learn from."""

from collections.abc import Sequence
from itertools import accumulate

from segdeploy.card import LabelClass
from segdeploy.datasets import Dataset, Sample


class Joined:
    """The samples of data sets with the same classes, one data set after the other; one that is given twice is seen twice."""

    def __init__(self, *parts: Dataset, rule: str) -> None:
        """Join data sets.

        Args:
            parts: Whose samples these are, in order; classes are those of the first.
            rule: How this came to be, in words.
        """
        self.rule = rule
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the data set."""
        return self._parts[0].classes

    @property
    def names(self) -> Sequence[str]:
        """Names of the samples."""
        return [name for part in self._parts for name in part.names]

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        part, end = next((part, end) for part, end in zip(self._parts, self._ends, strict=True) if index < end)
        return part[index - end + len(part)]
