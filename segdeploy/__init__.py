"""Semantic segmentation from training to a running camera.

Example:
    ```python
    import cv2
    import segdeploy

    predictor = segdeploy.load("best.onnx")
    mask = predictor.mask(cv2.imread("street.jpg"))  # (H, W) uint8, a class index each
    ```
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# A wheel has train/, export/ and benchmarks/ in this folder; a checkout keeps them beside it.
if not (Path(__file__).parent / "train").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

# Nothing is reported to the authors of libraries. The switches are read when a library is imported:
# in the order of the lines, by ONNX Runtime, by NNCF, and by what downloads timm's weights.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("NNCF_CI", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# OpenVINO has no switch of its own, but sends nothing where this library cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - attributes have all types
    """Import `segdeploy.load` on its first use, so that `import segdeploy` costs nothing."""
    if name == "load":
        return importlib.import_module("segdeploy.inference.predictor").load
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
