"""Scores on a dataset; masks for evaluation servers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Dataset
from segdeploy.datasets.formats.ade20k import to_original_ids as ade20k_ids
from segdeploy.datasets.formats.cityscapes import to_original_ids as cityscapes_ids
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.io import write_image
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.segmentation import ConfusionMatrix, Scores

SERVERS: Mapping[str, Callable[[Mask], Mask]] = {"ade20k": ade20k_ids, "cityscapes": cityscapes_ids}


def ids_writer(name: str, folder: Path) -> Callable[[str, Mask], None]:
    """Return a function that writes the mask of an image as `NAME.png` into a folder.

    Args:
        name: Name of a dataset that has an evaluation server.
        folder: Where the files are written; it is made if it is missing.

    Raises:
        ConfigError: The dataset has no evaluation server.
    """
    if name not in SERVERS:
        msg = (
            f"the dataset {name!r} has no ids for an evaluation server; --save-ids knows"
            f" {', '.join(SERVERS)}"
        )
        raise ConfigError(msg)
    return lambda picture, mask: write_image(folder / f"{picture}.png", SERVERS[name](mask))


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    batch: int = 1,
    on_step: Callable[[str], None],
    on_mask: Callable[[str, Mask], None] | None = None,
) -> Scores:
    """Score every image of a dataset at its own size.

    Args:
        predictor: What answers.
        dataset: Images and their truth.
        batch: How many images the network is given at once.
        on_step: Called after each image, with its name.
        on_mask: Called with the name of each image and its mask, (H, W) uint8, at the image's
            own size.

    Raises:
        DataError: The dataset is empty, has another number of classes than the network, or holds a
            sample that cannot be used.
    """
    return count(
        predictor, dataset, range(len(dataset)), batch=batch, on_step=on_step, on_mask=on_mask
    ).scores()


def count(
    predictor: Predictor,
    dataset: Dataset,
    indices: Sequence[int],
    *,
    batch: int = 1,
    on_step: Callable[[str], None],
    on_mask: Callable[[str, Mask], None] | None = None,
) -> ConfusionMatrix:
    """Count what the network makes of some images of a dataset.

    The counts of several parts may be added to those of the whole.

    Args:
        predictor: What answers.
        dataset: Images and their truth.
        indices: Which of its images.
        batch: How many images the network is given at once.
        on_step: Called after each image, with its name.
        on_mask: Called with the name of each image and its mask, (H, W) uint8, at the image's
            own size.

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
    """Refuse a dataset that the network was not made for.

    Raises:
        DataError: The dataset is empty or has another number of classes than the network.
    """
    known, given = len(predictor.card.classes), len(dataset.classes)
    if known != given:
        msg = (
            f"the network knows {known} classes and the dataset has {given}; evaluate on data with"
            " the network's classes"
        )
        raise DataError(msg)
    if not len(dataset):
        msg = "the dataset holds no image; check the split and the folder"
        raise DataError(msg)


def other_name(known: Sequence[LabelClass], given: Sequence[LabelClass]) -> str:
    """Say which of a network's classes is the first to be compared with one of another name.

    "" where none is, or the counts differ.
    """
    pairs = [
        (one.name, other.name)
        for one, other in zip(known, given, strict=False)
        if one.name != other.name
    ]
    if not pairs or len(known) != len(given):
        return ""
    return (
        f"the network's {pairs[0][0]!r} is compared with the data's {pairs[0][1]!r}; the scores"
        " tell only if both mean the same"
    )
