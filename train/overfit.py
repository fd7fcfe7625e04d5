"""A few pictures instead of a data set: what cannot be learned from them by heart has a mistake in it."""

from collections.abc import Sequence
from dataclasses import replace

from segdeploy.card import LabelClass
from segdeploy.datasets import Dataset, Sample

from .recipe import Recipe


class First:
    """The first samples of a data set."""

    def __init__(self, samples: Dataset, count: int) -> None:
        """Take so many, or all where there are fewer.

        Args:
            samples: Where the samples come from.
            count: How many.
        """
        self._samples = samples
        self._count = min(count, len(samples))

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """Classes of the data set."""
        return self._samples.classes

    @property
    def names(self) -> Sequence[str]:
        """Names of the samples."""
        return self._samples.names[: self._count]

    @property
    def rule(self) -> str:
        """How the split came to be."""
        return f"the first {self._count} of the training split, also to validate"

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        return self._samples[index]


def unchanged(recipe: Recipe) -> Recipe:
    """Show pictures as they are."""
    return replace(recipe, scale=(1.0, 1.0), max_share=1.0, flip=0.0, color=0.0, hue=0.0, blur=0.0)
