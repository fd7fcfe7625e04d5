"""Calibration images and activation ranges."""

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

from segdeploy.arrays import Batch
from segdeploy.backends.onnx_runtime import INPUT
from segdeploy.card import InputSpec, ModelCard
from segdeploy.datasets.dataset import Dataset, evenly_spaced
from segdeploy.datasets.registry import open_for
from segdeploy.errors import ConfigError
from segdeploy.imaging.preprocess import to_batch
from segdeploy.system.files import temporary_folder

from .capture import quiet


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Images as the network sees them, read one at a time.

    Attributes:
        source: Name of the dataset and the split.
        dataset: The split.
        indices: Which of its samples are taken.
        spec: The network's input.
    """

    source: str
    dataset: Dataset
    indices: tuple[int, ...]
    spec: InputSpec

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Batch:
        """Read one image, (1, H, W, 3) uint8 red-green-blue.

        Raises DataError where it cannot be used.
        """
        return to_batch([self.dataset[self.indices[index]].image], self.spec)

    def some(self, count: int) -> list[Batch]:
        """Read a few of the images, spread over all."""
        return [self[index] for index in evenly_spaced(len(self), count)]


def gather_calibration(
    card: ModelCard, *, dataset: str | None, data: Path | None, count: int
) -> Calibration:
    """Open the training split; a smaller one than was asked for is taken whole.

    Args:
        card: The network's card.
        dataset: Name of the dataset; the one of the training where None.
        data: Folder of the dataset; the one of the training where None.
        count: How many images, at least 64.

    Raises:
        ConfigError: Nothing tells what the network was trained on.
        DataError: The dataset cannot be used.
    """
    if dataset is None and card.training is None:
        msg = (
            "int8 is calibrated on the training split, and the card names no dataset; name one"
            " with --dataset and --data"
        )
        raise ConfigError(msg)
    name, split = open_for(card, dataset, data=data, split="train")
    return Calibration(
        source=f"{name} train",
        dataset=split,
        indices=tuple(evenly_spaced(len(split), count)),
        spec=card.input,
    )


Arrays = Mapping[str, Sequence[npt.NDArray[np.float32]]]

SAMPLED = 1 << 16
"""Numbers of one value of one image that a histogram counts: enough for its shape; the extremes
are those of all numbers."""

BINS = 512
PERCENTILE = 99.99
LEVELS = 128
"""Steps that the entropy rule compares a histogram with, as in TensorRT's calibration (Migacz, GTC
2017)."""

OPERATIONS = sorted(QDQRegistry)
"""Operations that ONNX Runtime computes in 8 bits."""


def measure_ranges(
    path: Path, calibration: Calibration, *, on_step: Callable[[str], None]
) -> Mapping[str, TensorsData]:
    """Answer every calibration image and give the range of every value.

    By extremes, by percentiles, and by least loss of entropy.

    Args:
        path: An ONNX file in float32.
        calibration: The images.
        on_step: Called after each image.
    """
    with temporary_folder() as folder, quiet(), contextlib.redirect_stdout(io.StringIO()):
        calibrator = create_calibrator(
            path,
            OPERATIONS,
            augmented_model_path=f"{folder}/open.onnx",
            calibrate_method=CalibrationMethod.Percentile,
        )
        collector = Collector()
        calibrator.collector = collector
        for index in range(len(calibration)):
            # One at a time: the calibrator holds every value of all that it is given at once.
            calibrator.collect_data(OneImage(calibration[index]))
            on_step("")
        return collector.ranges()


class OneImage(CalibrationDataReader):  # type: ignore[misc]
    """An image, as ONNX Runtime's calibrators read it."""

    def __init__(self, batch: Batch) -> None:
        """Take the image.

        Args:
            batch: (1, H, W, 3) uint8.
        """
        self._inputs: Iterator[dict[str, Batch]] = iter([{INPUT: batch}])

    def get_next(self) -> dict[str, Batch] | None:
        """Return it once, and None from then on."""
        return next(self._inputs, None)


class Collector(HistogramCollector):  # type: ignore[misc]
    """ONNX Runtime's histograms over a sample of each value, with the extremes of all its numbers."""

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
        """Count the values of some images."""
        for name, arrays in name_to_arr.items():
            known = self._extremes.get(name, (np.float32(np.inf), np.float32(-np.inf)))
            low, high = min(array.min() for array in arrays), max(array.max() for array in arrays)
            self._extremes[name] = (min(known[0], low), max(known[1], high))
        self.collect_value(
            {name: [thinned(array) for array in arrays] for name, arrays in name_to_arr.items()}
        )

    def ranges(self) -> Mapping[str, TensorsData]:
        """Return the range of each value, by the name of the rule."""
        return {
            "minmax": TensorsData(
                CalibrationMethod.MinMax,
                {
                    name: (np.array(low), np.array(high))
                    for name, (low, high) in self._extremes.items()
                },
            ),
            "percentile": TensorsData(CalibrationMethod.Percentile, self.compute_percentile()),
            "entropy": TensorsData(CalibrationMethod.Entropy, self.compute_entropy()),
        }


def thinned(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return evenly spread numbers of an array, one after the other.

    An odd step, so that no channel or column is left out.
    """
    return array.ravel()[:: (array.size // SAMPLED) | 1]
