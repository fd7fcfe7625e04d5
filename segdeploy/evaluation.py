"""A network's masks against the truth of a data set."""

from collections.abc import Callable, Sequence

from segdeploy.card import LabelClass
from segdeploy.datasets.sample import Dataset
from segdeploy.errors import DataError
from segdeploy.predictor import Predictor
from segdeploy.scores import ConfusionMatrix, Mask, Scores


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    batch: int = 1,
    on_step: Callable[[str], None],
    on_mask: Callable[[str, Mask], None] | None = None,
) -> Scores:
    """Score every picture of a data set at its own size.

    Args:
        predictor: What answers.
        dataset: Pictures and their truth.
        batch: How many pictures the network is given at once.
        on_step: Called after each picture, with its name.
        on_mask: Called with the name of each picture and its mask, (H, W) uint8, at the picture's own size.

    Raises:
        DataError: The data set is empty, has another number of classes than the network, or holds a sample that cannot be used.
    """
    return count(predictor, dataset, range(len(dataset)), batch=batch, on_step=on_step, on_mask=on_mask).scores()


def count(
    predictor: Predictor,
    dataset: Dataset,
    indices: Sequence[int],
    *,
    batch: int = 1,
    on_step: Callable[[str], None],
    on_mask: Callable[[str, Mask], None] | None = None,
) -> ConfusionMatrix:
    """Count what the network makes of some pictures of a data set: the counts of several parts may be added to those of the whole.

    Args:
        predictor: What answers.
        dataset: Pictures and their truth.
        indices: Which of its pictures.
        batch: How many pictures the network is given at once.
        on_step: Called after each picture, with its name.
        on_mask: Called with the name of each picture and its mask, (H, W) uint8, at the picture's own size.

    Raises:
        DataError: As `evaluate` does.
    """
    check_classes(predictor, dataset)
    counts = ConfusionMatrix(len(dataset.classes))
    for start in range(0, len(indices), batch):
        samples = [dataset[index] for index in indices[start : start + batch]]
        masks = predictor.masks([sample.image for sample in samples])
        for sample, mask in zip(samples, masks, strict=True):
            if on_mask:
                on_mask(sample.name, mask)
            try:
                counts.add(mask, sample.mask)
            except DataError as error:
                msg = f"{sample.name}: {error}"
                raise DataError(msg) from error
            on_step(sample.name)
    return counts


def check_classes(predictor: Predictor, dataset: Dataset) -> None:
    """Refuse a data set that the network was not made for.

    Raises:
        DataError: The data set is empty or has another number of classes than the network.
    """
    known, given = len(predictor.card.classes), len(dataset.classes)
    if known != given:
        msg = f"the network knows {known} classes and the data set has {given}; evaluate on data with the network's classes"
        raise DataError(msg)
    if not len(dataset):
        msg = "the data set holds no picture; check the split and the folder"
        raise DataError(msg)


def other_name(known: Sequence[LabelClass], given: Sequence[LabelClass]) -> str:
    """Say which of a network's classes is the first to be compared with one of another name; "" where none is, or the counts differ."""
    pairs = [(one.name, other.name) for one, other in zip(known, given, strict=False) if one.name != other.name]
    if not pairs or len(known) != len(given):
        return ""
    return f"the network's {pairs[0][0]!r} is compared with the data's {pairs[0][1]!r}; the scores tell only if both mean the same"
