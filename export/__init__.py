"""A checkpoint, or any network, in; a file for another runtime and proof of it out."""

import importlib
from typing import Any

LIBRARY = {"export_module": "api", "ExportConfig": "config", "Artifact": "writer"}
"""What scripts use, and the module of each: imported once it is asked for, so that help costs no
PyTorch."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what it gives is as different as its names
    """Return what scripts use."""
    if name in LIBRARY:
        return getattr(importlib.import_module(f".{LIBRARY[name]}", __name__), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
