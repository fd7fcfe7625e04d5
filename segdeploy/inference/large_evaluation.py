"""Scores of a network on large images, tile by tile, from the masks that `run --tile` writes."""

from collections.abc import Callable, Iterator

import numpy as np

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.datasets.dataset import Dataset, JoinedDataset, LargeDataset, LargeSample
from segdeploy.datasets.index import FileDataset, Pair
from segdeploy.errors import ConfigError, DataError
from segdeploy.inference.label_map import ClassMapping, same_order
from segdeploy.inference.large_images import open_rows, segmented
from segdeploy.inference.tiling import Tiler
from segdeploy.metrics.scores import Scores
from segdeploy.metrics.segmentation import ConfusionMatrix


def evaluate_large(
    tiler: Tiler,
    dataset: Dataset,
    *,
    mapping: ClassMapping | None = None,
    on_step: Callable[[str], None],
) -> Scores:
    """Return the scores over all images of a dataset, none of which is in memory as a whole.

    Args:
        tiler: Segments the images.
        dataset: Images in files and their labels, checked by `evaluation.check_classes`.
        mapping: From the network's classes to the dataset's; None where they are the same.
        on_step: Called after each image, with its name.

    Raises:
        ConfigError: The dataset makes its images itself.
        DataError: An image or its labels cannot be used.
    """
    count = len(dataset.classes)
    counts = ConfusionMatrix(count, unlabeled=mapping is not None)
    mapped = mapping or same_order(count)
    for sample in large_samples(dataset):
        image = open_rows(sample.image, tiler.spec)
        if sample.size != (image.height, image.width):
            msg = (
                f"the labels of {sample.name} are {sample.size[1]}x{sample.size[0]} but its image"
                f" is {image.width}x{image.height}; make both the same size"
            )
            raise DataError(msg)
        row = 0
        for strip in segmented(image, tiler):
            labels = sample.labels(row, len(strip.mask))
            row += len(strip.mask)
            labeled = np.where(strip.mask == IGNORE_INDEX, IGNORE_INDEX, labels).astype(np.uint8)
            try:
                counts.add(mapped.apply(strip.mask), labeled)
            except DataError as error:
                msg = f"{sample.name}: {error}"
                raise DataError(msg) from error
        on_step(sample.name)
    return counts.scores()


def large_samples(dataset: Dataset) -> Iterator[LargeSample]:
    """Yield the images of a dataset with their labels, to be read by rows.

    Raises:
        ConfigError: The dataset makes its images itself.
        DataError: The labels of an image cannot be read.
    """
    if isinstance(dataset, JoinedDataset):
        for part in dataset.parts:
            yield from large_samples(part)
    elif isinstance(dataset, LargeDataset):
        yield from dataset.large_samples()
    elif isinstance(dataset, FileDataset):
        for pair in dataset.pairs:
            if pair.mask is not None:
                yield _of_files(pair, dataset)
    else:
        msg = "the dataset makes its images itself; leave out --tile, or name one in files"
        raise ConfigError(msg)


def _of_files(pair: Pair, dataset: FileDataset) -> LargeSample:
    mask = dataset.mask_format.read(pair)

    def rows(first: int, count: int) -> Mask:
        return mask[first : first + count]

    return LargeSample(
        name=pair.name, image=pair.image, size=(mask.shape[0], mask.shape[1]), labels=rows
    )
