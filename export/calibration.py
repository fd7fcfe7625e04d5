"""Calibration of int8: images of the training split, and the ranges of activations on them."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import (
    CalibrationDataReader,
    HistogramCollector,
    TensorsData,
    create_calibrator,
)
from onnxruntime.quantization.registry import QDQRegistry

from segdeploy.arrays import Batch, Image
from segdeploy.backends.base import INPUT
from segdeploy.card import InputSpec, ModelCard
from segdeploy.datasets.dataset import Dataset, evenly_spaced
from segdeploy.datasets.registry import open_for_card
from segdeploy.errors import ConfigError
from segdeploy.imaging.bands import reader_for
from segdeploy.imaging.io import list_images, read_image
from segdeploy.imaging.preprocess import to_batch
from segdeploy.system.files import temporary_folder

from .capture import quiet


@dataclass(frozen=True, kw_only=True)
class UnlabeledImage:
    """An image as a sample without a mask.

    Attributes:
        image: (H, W, C) as the network takes it.
    """

    image: Image


@dataclass(frozen=True, kw_only=True)
class UnlabeledImages:
    """Files of images, read one at a time.

    Attributes:
        paths: Their paths.
        read: Reads an image as the network takes it.
    """

    paths: Sequence[Path]
    read: Callable[[Path], Image] = read_image

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> UnlabeledImage:
        return UnlabeledImage(image=self.read(self.paths[index]))


@dataclass(frozen=True, kw_only=True)
class CalibrationImages:
    """Images as the network's input, read one at a time.

    Attributes:
        source: Name of the dataset and the split.
        dataset: The split.
        indices: Indices of the samples.
        spec: The network's input.
    """

    source: str
    dataset: Dataset | UnlabeledImages
    indices: tuple[int, ...]
    spec: InputSpec

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Batch:
        """Read an image, (1, H, W, 3) uint8 RGB.

        Raises:
            DataError: The file cannot be used.
        """
        return to_batch([self.dataset[self.indices[index]].image], self.spec)

    def sample(self, count: int) -> list[Batch]:
        """Read some of the images, evenly spaced."""
        return [self[index] for index in evenly_spaced(len(self), count)]


def open_calibration_images(
    card: ModelCard,
    *,
    dataset: str | None,
    data: Path | None,
    files: Sequence[Path] = (),
    count: int,
) -> CalibrationImages:
    """Open images of the training split, evenly spaced; all where it has fewer than `count`.

    Args:
        card: The network's card.
        dataset: Name of the dataset; the training's where None.
        data: Folder of the dataset; the training's where None.
        files: Images without masks, or folders of them, instead of a dataset.
        count: Number of images.

    Raises:
        ConfigError: No dataset is named, neither here nor in the card.
        DataError: The dataset cannot be used.
    """
    if files:
        paths = list_images(files)
        return CalibrationImages(
            source=" ".join(map(str, files)),
            dataset=UnlabeledImages(paths=paths, read=reader_for(card.input)),
            indices=tuple(evenly_spaced(len(paths), count)),
            spec=card.input,
        )
    if dataset is None and card.training is None:
        msg = (
            "int8 is calibrated on the training split, and the card names no dataset; name one"
            " with --dataset and --data, or images without masks with --calibrate FOLDER"
        )
        raise ConfigError(msg)
    name, split = open_for_card(card, dataset, data=data, split="train")
    return CalibrationImages(
        source=f"{name} train",
        dataset=split,
        indices=tuple(evenly_spaced(len(split), count)),
        spec=card.input,
    )


Arrays = Mapping[str, Sequence[npt.NDArray[np.float32]]]

MAX_SAMPLES = 1 << 16
"""Numbers of one activation of one image that a histogram counts; minimum and maximum are those of
all numbers."""

BINS = 512
PERCENTILE = 99.99
LEVELS = 128
"""Steps that the entropy rule compares a histogram with, as in TensorRT's calibration (Migacz, GTC
2017)."""

OPERATORS = sorted(QDQRegistry)
"""Operators that ONNX Runtime computes in int8."""


def measure_ranges(
    path: Path, calibration: CalibrationImages, *, on_step: Callable[[str], None]
) -> Mapping[str, TensorsData]:
    """Return the range of every activation over the calibration images, by the name of the rule.

    The rules are "minmax", "percentile" (99.99) and "entropy" (least loss of information).

    Args:
        path: An ONNX file in float32.
        calibration: The images.
        on_step: Called after each image.
    """
    with temporary_folder() as folder, quiet(), contextlib.redirect_stdout(io.StringIO()):
        calibrator = create_calibrator(
            path,
            OPERATORS,
            augmented_model_path=f"{folder}/augmented.onnx",
            calibrate_method=CalibrationMethod.Percentile,
        )
        collector = RangeCollector()
        calibrator.collector = collector
        for index in range(len(calibration)):
            # One image at a time: the calibrator holds every activation of all images of a reader.
            calibrator.collect_data(SingleImageReader(calibration[index]))
            on_step("")
        return collector.ranges()


class SingleImageReader(CalibrationDataReader):  # type: ignore[misc]
    """One image in the form that ONNX Runtime's calibrators read."""

    def __init__(self, batch: Batch) -> None:
        """Take the image.

        Args:
            batch: (1, H, W, 3) uint8.
        """
        self._inputs: Iterator[dict[str, Batch]] = iter([{INPUT: batch}])

    def get_next(self) -> dict[str, Batch] | None:
        """Return the image at the first call, and None from then on."""
        return next(self._inputs, None)


class RangeCollector(HistogramCollector):  # type: ignore[misc]
    """ONNX Runtime's histograms over a sample of each activation, and its true extremes."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        super().__init__(
            "entropy",
            symmetric=False,
            num_bins=BINS,
            num_quantized_bins=LEVELS,
            percentile=PERCENTILE,
            scenario="same",
        )
        self._extremes: dict[str, tuple[Any, Any]] = {}

    def collect(self, name_to_arr: Arrays) -> None:
        """Count the activations of some images, by their names."""
        for name, arrays in name_to_arr.items():
            known = self._extremes.get(name, (np.float32(np.inf), np.float32(-np.inf)))
            low, high = min(array.min() for array in arrays), max(array.max() for array in arrays)
            self._extremes[name] = (min(known[0], low), max(known[1], high))
        self.collect_value(
            {
                name: [without_dust(subsample(array)) for array in arrays]
                for name, arrays in name_to_arr.items()
            }
        )

    def ranges(self) -> Mapping[str, TensorsData]:
        """Return the range of each activation, by the name of the rule."""
        extremes = {
            name: (np.array(low), np.array(high)) for name, (low, high) in self._extremes.items()
        }
        return {
            "minmax": TensorsData(CalibrationMethod.MinMax, extremes),
            "percentile": TensorsData(CalibrationMethod.Percentile, self.compute_percentile()),
            "entropy": TensorsData(CalibrationMethod.Entropy, self.compute_entropy()),
        }


NEARLY_ZERO = 1e-20


def without_dust(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return an array with zero for numbers that are nearly zero.

    Layers that weight decay has killed return 1e-43, a range that no histogram can divide.
    """
    return np.where(np.abs(array) < NEARLY_ZERO, np.float32(0), array)


def subsample(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return evenly spaced numbers of an array, flat.

    The step is odd, so that no channel or column is left out.
    """
    return array.ravel()[:: (array.size // MAX_SAMPLES) | 1]
