"""Semantic segmentation from training to a running camera."""

import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# A wheel carries train/, export/ and benchmarks/ in this folder; a checkout keeps them beside it.
if not (Path(__file__).parent / "train").is_dir():
    __path__.append(str(Path(__file__).parent.parent))


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what it gives is as different as its names
    """Return `segdeploy.load` once it is asked for, so that `import segdeploy` alone costs nothing."""
    if name == "load":
        return importlib.import_module("segdeploy.inference.predictor").load
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
