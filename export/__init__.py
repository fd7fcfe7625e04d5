"""Proven files for other runtimes, from a checkpoint or any network of PyTorch."""

import importlib
from typing import Any

PUBLIC = {
    "export_model": ("model_export", "export_model"),
    "export_module": ("exporter", "export_module"),
    "AdoptConfig": ("adopt.config", "AdoptConfig"),
    "adopt_model": ("adopt.adoption", "adopt_model"),
    "ExportConfig": ("plan", "ExportConfig"),
    "Order": ("plan", "make_order"),
    "Artifact": ("writer", "Artifact"),
}
"""Module and attribute of each public name. Modules are imported on first use: help costs no
PyTorch."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - functions and classes
    """Return a public name of the package."""
    if name in PUBLIC:
        module, attribute = PUBLIC[name]
        # It says which extra installs a library that is missing.
        plan = importlib.import_module(".plan", __name__)
        return getattr(plan.import_optional(module), attribute)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted([*PUBLIC, "__doc__"])
