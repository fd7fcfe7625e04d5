"""A recipe and images in, a checkpoint out."""

import importlib
from typing import Any

PUBLIC = {
    "TrainResult": ("training_run", "TrainResult"),
    "train_model": ("training_run", "train_model"),
}
"""Module and attribute of each public name. Modules are imported on first use."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - functions and classes
    """Return a public name of the package."""
    if name in PUBLIC:
        module, attribute = PUBLIC[name]
        return getattr(importlib.import_module(f".{module}", __name__), attribute)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted([*PUBLIC, "__doc__"])
