"""Pictures of another data set, in whose classes ours lie: what is known of a pixel is that its class is one of several."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from segdeploy.card import LabelClass
from segdeploy.datasets import Dataset, Sample
from segdeploy.errors import ConfigError
from segdeploy.scores import IGNORED, Mask

Unions = tuple[tuple[int, ...], ...]
"""Of each coarse class the indices of those classes of ours of which a pixel of it is one."""


class Coarse:
    """A helper's samples in the classes of ours: a mask holds their indices and, from their number K on, K + the place of a union.

    Attributes:
        classes: Our classes.
        unions: The coarse ones.
    """

    def __init__(self, samples: Dataset, classes: tuple[LabelClass, ...], unions: Mapping[str, Sequence[str]]) -> None:
        """Match the classes.

        Args:
            samples: The helper.
            classes: Our classes.
            unions: Names of ours by names of the helper's; where one is left out it is ours of the same name, or not labelled.

        Raises:
            ConfigError: A name is unknown, or nothing of the helper is left.
        """
        theirs, ours = ([one.name for one in both] for both in (samples.classes, classes))
        for name, known in [(name, theirs) for name in unions] + [(name, ours) for names in unions.values() for name in names]:
            if name not in known:
                msg = f"unions name the class {name!r}, which is none of {', '.join(known)}; correct the recipe"
                raise ConfigError(msg)
        self.classes = classes
        self._samples = samples
        self._table = np.full(IGNORED + 1, IGNORED, np.uint8)
        found: list[tuple[int, ...]] = []
        for index, name in enumerate(theirs):
            members = tuple(ours.index(one) for one in unions.get(name, [name] if name in ours else []))
            if len(members) > 1:
                self._table[index] = len(ours) + len(found)
                found.append(members)
            elif members:
                self._table[index] = members[0]
        self.unions: Unions = tuple(found)
        if (self._table == IGNORED).all():
            msg = f"no class of the helper is one of ours: it has {', '.join(theirs)}; give unions in the recipe"
            raise ConfigError(msg)
        if len(ours) + len(found) > IGNORED:
            msg = f"{len(ours)} classes and {len(found)} unions are more than the {IGNORED} that a mask can hold; give fewer unions"
            raise ConfigError(msg)

    @property
    def names(self) -> Sequence[str]:
        """Names of the helper's samples."""
        return self._samples.names

    @property
    def rule(self) -> str:
        """How the helper's split came to be."""
        return self._samples.rule

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        sample = self._samples[index]
        mask: Mask = np.asarray(cv2.LUT(sample.mask, self._table), dtype=np.uint8)
        return Sample(image=sample.image, mask=mask, name=sample.name)
