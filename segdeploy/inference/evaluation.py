"""Scores of a network on a dataset, and masks for evaluation servers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from segdeploy.arrays import Mask
from segdeploy.card import LabelClass, ModelCard
from segdeploy.datasets.dataset import Dataset
from segdeploy.datasets.formats.ade20k import to_original_ids as ade20k_ids
from segdeploy.datasets.formats.cityscapes import to_original_ids as cityscapes_ids
from segdeploy.errors import ConfigError, DataError
from segdeploy.imaging.io import write_image
from segdeploy.inference.label_map import ClassMapping
from segdeploy.inference.predictor import Predictor
from segdeploy.metrics.scores import Scores
from segdeploy.metrics.segmentation import ConfusionMatrix

SERVERS: Mapping[str, Callable[[Mask], Mask]] = {"ade20k": ade20k_ids, "cityscapes": cityscapes_ids}
"""Datasets with an evaluation server, and the function that turns a mask into its label ids."""


def ids_writer(name: str, folder: Path) -> Callable[[str, Mask], None]:
    """Return a function that writes the mask of an image as `NAME.png` into a folder.

    Args:
        name: Name of a dataset that has an evaluation server.
        folder: Where the files are written; it is created if it is missing.

    Raises:
        ConfigError: The dataset has no evaluation server.
    """
    if name not in SERVERS:
        msg = (
            f"the dataset {name!r} has no ids for an evaluation server; --save-ids supports"
            f" {', '.join(SERVERS)}"
        )
        raise ConfigError(msg)
    return lambda image, mask: write_image(folder / f"{image}.png", SERVERS[name](mask))


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    batch: int = 1,
    mapping: ClassMapping | None = None,
    on_step: Callable[[str], None],
    on_mask: Callable[[str, Mask], None] | None = None,
) -> Scores:
    """Return the scores over all images of a dataset, each at its own size.

    Args:
        predictor: Returns the masks.
        dataset: Images and their labels.
        batch: Images per call of the network.
        mapping: From the network's classes to the dataset's; None where they are the same.
        on_step: Called after each image, with its name.
        on_mask: Called with the name of each image and its predicted mask, (H, W) uint8, of the
            image's own size.

    Raises:
        DataError: The dataset is empty, has another number of classes than the network, or holds a
            sample that cannot be used.
    """
    return count_labels(
        predictor,
        dataset,
        range(len(dataset)),
        batch=batch,
        mapping=mapping,
        on_step=on_step,
        on_mask=on_mask,
    ).scores()


def count_labels(
    predictor: Predictor,
    dataset: Dataset,
    indices: Sequence[int],
    *,
    batch: int = 1,
    mapping: ClassMapping | None = None,
    on_step: Callable[[str], None],
    on_mask: Callable[[str, Mask], None] | None = None,
) -> ConfusionMatrix:
    """Return the confusion matrix over some images of a dataset.

    Matrices of several parts may be added to that of the whole dataset.

    Args:
        predictor: Returns the masks.
        dataset: Images and their labels.
        indices: Indices of the images.
        batch: Images per call of the network.
        mapping: From the network's classes to the dataset's; None where they are the same.
        on_step: Called after each image, with its name.
        on_mask: Called with the name of each image and its predicted mask, (H, W) uint8, of the
            image's own size.

    Raises:
        DataError: See `evaluate`.
    """
    check_classes(predictor.card, dataset, mapping=mapping)
    counts = ConfusionMatrix(len(dataset.classes), unlabeled=mapping is not None)
    for start in range(0, len(indices), batch):
        samples = [dataset[index] for index in indices[start : start + batch]]
        masks = predictor.masks([sample.image for sample in samples])
        for sample, mask in zip(samples, masks, strict=True):
            if on_mask:
                on_mask(sample.name, mask)
            try:
                counts.add(mask if mapping is None else mapping.apply(mask), sample.mask)
            except DataError as error:
                msg = f"{sample.name}: {error}"
                raise DataError(msg) from error
            on_step(sample.name)
    return counts


def check_classes(
    card: ModelCard, dataset: Dataset, *, mapping: ClassMapping | None = None
) -> None:
    """Check that a network can be scored on a dataset.

    Raises:
        DataError: The dataset is empty or has another number of classes than the network.
    """
    predicted, labeled = len(card.classes), len(dataset.classes)
    if mapping is None and predicted != labeled:
        msg = (
            f"the network has {predicted} classes and the dataset {labeled}; evaluate on data with"
            " the network's classes, or say with --map which mean the same"
        )
        raise DataError(msg)
    if not len(dataset):
        msg = "the dataset holds no image; check the split and the folder"
        raise DataError(msg)


def class_name_warning(predicted: Sequence[LabelClass], labeled: Sequence[LabelClass]) -> str:
    """Return a warning where classes of different names are compared, or "".

    Args:
        predicted: Classes of the network.
        labeled: Classes of the dataset; with another number of them there are no scores at all.
    """
    if len(predicted) != len(labeled):
        return ""
    for own, other in zip(predicted, labeled, strict=True):
        if own.name != other.name:
            return (
                f"the network's class {own.name!r} is compared with {other.name!r} of the dataset;"
                " the scores are valid only if both mean the same"
            )
    return ""
