"""How right the answers are: masks that the rows wrote, against the truth and against the reference's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from segdeploy.datasets.sample import Dataset
from segdeploy.parity import Agreement
from segdeploy.pictures import read_ids
from segdeploy.scores import ConfusionMatrix, Scores

from .report import Labels
from .row import answer_name


def judge(
    answers: Mapping[str, Path], dataset: Dataset, indices: Sequence[int], *, reference: str | None
) -> dict[str, tuple[Scores, Labels | None]]:
    """Score each row's masks at the pictures' own size.

    Args:
        answers: Folder of each row's masks, by the row's name.
        dataset: The split that was answered.
        indices: The pictures that were answered.
        reference: Name of the row whose labels the others are compared with; None or a name that is not there for no comparison.

    Returns:
        Scores of each row, and how far its labels are the reference's.
    """
    classes = len(dataset.classes)
    matrices = {name: ConfusionMatrix(classes) for name in answers}
    agreements = {name: Agreement(classes) for name in answers}
    for index in indices:
        truth = dataset[index].mask
        masks = {name: read_ids(folder / answer_name(index)) for name, folder in answers.items()}
        for name, mask in masks.items():
            matrices[name].add(mask, truth)
            if reference in masks:
                agreements[name].add(mask, masks[reference])
    labels = {name: Labels(overall=found.overall, near=found.near, by_class=found.by_class) for name, found in agreements.items()}
    return {name: (matrix.scores(), labels[name] if reference in answers else None) for name, matrix in matrices.items()}
