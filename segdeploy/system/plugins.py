"""User modules, named with --plugin, that register networks or datasets."""

import importlib
import sys
import traceback
from pathlib import Path

from segdeploy.errors import ConfigError, SegdeployError

LOADED: dict[str, None] = {}
"""Plugins of this process in order, by names under which a process that it starts in the same
folder can load them."""


def load_plugin(name: str) -> None:
    """Import a module, so that what it registers is known.

    A module that is imported already stays as it is.

    Args:
        name: Dotted name of a module, which may lie in the current folder, or path of a .py file.

    Raises:
        ConfigError: There is no such module, or its code fails.
    """
    path = Path(name).resolve() if name.endswith(".py") else None
    if path is not None and not path.is_file():
        msg = f"there is no plugin {name}; name a .py file, or a module by its dotted name"
        raise ConfigError(msg)
    folder, module = (Path.cwd(), name) if path is None else (path.parent, path.stem)
    # It stays on the path, because processes that read images import the module again by its name.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    file = _import(module, shown=name)
    if path is not None and Path(file or "").resolve() != path:
        msg = (
            f"the plugin {name} is hidden by the module {module!r} of {file or 'Python itself'};"
            " give the file another name"
        )
        raise ConfigError(msg)
    LOADED[str(path or name)] = None


def _import(module: str, *, shown: str) -> str | None:
    """Import a module and return the path of its file; an error becomes one sentence."""
    try:
        return importlib.import_module(module).__file__
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(_describe(shown, error)) from error
        msg = (
            f"there is no plugin {shown}; name a module that can be imported from here, or a .py"
            " file"
        )
        raise ConfigError(msg) from error
    except SegdeployError as error:
        msg = f"the plugin {shown} cannot be used: {error}"
        raise ConfigError(msg) from error
    except Exception as error:
        raise ConfigError(_describe(shown, error)) from error


def _describe(name: str, error: Exception) -> str:
    """Return a sentence about what the code of a plugin raised, and in which line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = (
        f"{error.filename}, line {error.lineno}"
        if isinstance(error, SyntaxError)
        else f"{last.filename}, line {last.lineno}"
    )
    return (
        f"the plugin {name} cannot be imported: {type(error).__name__}:"
        f" {' '.join(str(error).split())[:200]} ({line})"
    )
