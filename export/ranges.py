"""Between which numbers each value of an ONNX graph lies, by three rules, from one walk over the pictures."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import CalibrationDataReader, HistogramCollector, TensorsData, create_calibrator
from onnxruntime.quantization.registry import QDQRegistry

from segdeploy.atomic import temporary_folder
from segdeploy.backends.onnx_runtime import INPUT
from segdeploy.pixels import Batch

from .calibration import Calibration
from .quiet import quiet

Arrays = Mapping[str, Sequence[npt.NDArray[np.float32]]]

SAMPLED = 1 << 16
"""Numbers of one value of one picture that a histogram counts: enough for its shape; the extremes are those of all numbers."""

BINS = 512
PERCENTILE = 99.99
LEVELS = 128
"""Steps that the entropy rule compares a histogram with, as in TensorRT's calibration (Migacz, GTC 2017)."""

OPERATIONS = sorted(QDQRegistry)
"""Operations that ONNX Runtime computes in 8 bits."""


def measure_ranges(path: Path, calibration: Calibration, *, on_step: Callable[[str], None]) -> Mapping[str, TensorsData]:
    """Answer every calibration picture and give the range of every value: by extremes, by percentiles, and by least loss of entropy.

    Args:
        path: An ONNX file in float32.
        calibration: The pictures.
        on_step: Called after each picture.
    """
    with temporary_folder() as folder, quiet(), contextlib.redirect_stdout(io.StringIO()):
        calibrator = create_calibrator(
            path, OPERATIONS, augmented_model_path=f"{folder}/open.onnx", calibrate_method=CalibrationMethod.Percentile
        )
        collector = Collector()
        calibrator.collector = collector
        for index in range(len(calibration)):
            # One at a time: the calibrator holds every value of all that it is given at once.
            calibrator.collect_data(OnePicture(calibration[index]))
            on_step("")
        return collector.ranges()


class OnePicture(CalibrationDataReader):  # type: ignore[misc]
    """A picture, as ONNX Runtime's calibrators read it."""

    def __init__(self, batch: Batch) -> None:
        """Take the picture.

        Args:
            batch: (1, H, W, 3) uint8.
        """
        self._inputs: Iterator[dict[str, Batch]] = iter([{INPUT: batch}])

    def get_next(self) -> dict[str, Batch] | None:
        """Give it once, and None from then on."""
        return next(self._inputs, None)


class Collector(HistogramCollector):  # type: ignore[misc]
    """ONNX Runtime's histograms over a sample of each value, with the extremes of all its numbers."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        super().__init__("entropy", symmetric=False, num_bins=BINS, num_quantized_bins=LEVELS, percentile=PERCENTILE, scenario="same")
        self._extremes: dict[str, tuple[Any, Any]] = {}

    def collect(self, name_to_arr: Arrays) -> None:
        """Count the values of some pictures."""
        for name, arrays in name_to_arr.items():
            known = self._extremes.get(name, (np.float32(np.inf), np.float32(-np.inf)))
            low, high = min(array.min() for array in arrays), max(array.max() for array in arrays)
            self._extremes[name] = (min(known[0], low), max(known[1], high))
        self.collect_value({name: [thinned(array) for array in arrays] for name, arrays in name_to_arr.items()})

    def ranges(self) -> Mapping[str, TensorsData]:
        """Give the range of each value, by the name of the rule."""
        return {
            "minmax": TensorsData(
                CalibrationMethod.MinMax, {name: (np.array(low), np.array(high)) for name, (low, high) in self._extremes.items()}
            ),
            "percentile": TensorsData(CalibrationMethod.Percentile, self.compute_percentile()),
            "entropy": TensorsData(CalibrationMethod.Entropy, self.compute_entropy()),
        }


def thinned(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Give evenly spread numbers of an array, one after the other; an odd step, so that no channel or column is left out."""
    return array.ravel()[:: (array.size // SAMPLED) | 1]
