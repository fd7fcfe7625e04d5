"""How right the answers are: masks that the rows wrote, against the truth and against the reference's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from segdeploy.datasets.sample import Dataset
from segdeploy.parity import Agreement, share
from segdeploy.pictures import read_ids
from segdeploy.scores import IGNORED, ConfusionMatrix, Mask

from .boundary import BoundaryMatrix
from .figures import Accuracy, Labels
from .row import answer_name

WORST = 2
"""How many pictures of each row are named and shown."""


class Judge:
    """Counts one row's masks."""

    def __init__(self, classes: int) -> None:
        """Start with no picture counted.

        Args:
            classes: Number of classes, K.
        """
        self._matrix = ConfusionMatrix(classes)
        self._boundaries = BoundaryMatrix(classes)
        self._agreement = Agreement(classes)
        self._likeness: dict[str, tuple[float, float]] = {}

    def add(self, name: str, mask: Mask, *, truth: Mask, reference: Mask | None) -> None:
        """Count the mask of a picture of that name, all (H, W) uint8 of its size."""
        self._matrix.add(mask, truth)
        self._boundaries.add(mask, truth)
        labelled = truth != IGNORED
        right = share(int(np.count_nonzero((mask == truth) & labelled)), int(np.count_nonzero(labelled)))
        self._likeness[name] = (1.0 if reference is None else self._agreement.add(mask, reference), right)

    def accuracy(self, *, compared: bool) -> Accuracy:
        """Give what was counted; `compared` says whether there was a reference."""
        return Accuracy(
            scores=self._matrix.scores(),
            boundaries=self._boundaries.iou,
            labels=Labels.of(self._agreement) if compared else None,
            worst=tuple(sorted(self._likeness, key=lambda name: self._likeness[name])[:WORST]),
        )


def judge(answers: Mapping[str, Path], dataset: Dataset, indices: Sequence[int], *, reference: str | None) -> dict[str, Accuracy]:
    """Score each row's masks at the pictures' own size.

    Args:
        answers: Folder of each row's masks, by the row's name.
        dataset: The split that was answered.
        indices: The pictures that were answered.
        reference: Name of the row whose labels the others are compared with; None or a name that is not there for no comparison.
    """
    judges = {name: Judge(len(dataset.classes)) for name in answers}
    for index in indices:
        truth = dataset[index].mask
        masks = {name: read_ids(folder / answer_name(index)) for name, folder in answers.items()}
        for name, mask in masks.items():
            judges[name].add(dataset.names[index], mask, truth=truth, reference=masks.get(reference or ""))
    return {name: one.accuracy(compared=reference in answers) for name, one in judges.items()}
