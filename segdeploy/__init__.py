"""Semantic segmentation from training to a running camera.

Example:
    ```python
    import segdeploy

    net = segdeploy.load("best.onnx")  # without an argument, the bundled model
    result = net("street.jpg")
    result.mask  # (H, W) uint8, a class index each
    result.save("overlay.png")
    ```
"""

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segdeploy.api.evaluation import Evaluation, evaluate
    from segdeploy.api.exchange import Region
    from segdeploy.api.network import Network, load
    from segdeploy.api.result import Result
    from segdeploy.api.run import RunResult
    from segdeploy.api.stream import Stream

__version__ = "0.1.0"

PUBLIC = {
    "Evaluation": "api.evaluation",
    "Network": "api.network",
    "Region": "api.exchange",
    "Result": "api.result",
    "RunResult": "api.run",
    "Stream": "api.stream",
    "evaluate": "api.evaluation",
    "load": "api.network",
}
"""Module of each public name. Modules are imported on first use, so that `import segdeploy` costs
nothing."""

PARTS = ("benchmarks", "datasets", "errors", "export", "models", "train")
"""Packages and modules that programs use by their names, imported on first use too."""

__all__ = ["Evaluation", "Network", "Region", "Result", "RunResult", "Stream", "evaluate", "load"]

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
    """Import a public name on its first use."""
    if name in PUBLIC:
        value = getattr(importlib.import_module(f"{__name__}.{PUBLIC[name]}"), name)
        globals()[name] = value
        return value
    if name in PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Return the public names, which are few: modules that were imported are none of them."""
    return sorted([*PUBLIC, *PARTS, "__doc__", "__version__"])
