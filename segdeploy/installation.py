"""How this package was installed, and the command that adds an extra to it."""

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PACKAGE = "segdeploy"

LIBRARIES: Mapping[str, str] = {"train": "torch", "export": "onnx", "report": "matplotlib"}
"""A library of each extra that a command needs, by the extra's name."""


@dataclass(frozen=True, kw_only=True)
class Installation:
    """How the package was installed.

    Attributes:
        program: What installs packages here, for example "pip install".
        origin: The content of `direct_url.json` (PEP 610): a folder, a file or a repository that
            it was installed from; None for an index.
    """

    program: str = "pip install"
    origin: Mapping[str, Any] | None = None

    def command(self, extra: str) -> str:
        """Return the command that installs an extra, for a shell.

        Args:
            extra: Name of the extra, or "" for the package itself.
        """
        options, target = self._target(f"[{extra}]" if extra else "")
        return f"{self.program} {options}{shlex.quote(target)}"

    def _target(self, extra: str) -> tuple[str, str]:
        """Return options, and what is installed."""
        if self.origin is None:
            return "", f"{PACKAGE}{extra}"
        url = str(self.origin.get("url", ""))
        if "dir_info" in self.origin and url.startswith("file:"):
            editable = "-e " if self.origin["dir_info"].get("editable") else ""
            return editable, f"{unquote(urlsplit(url).path)}{extra}"
        if repository := self.origin.get("vcs_info"):
            url = f"{repository.get('vcs')}+{url}@{repository.get('commit_id')}"
        return "", f"{PACKAGE}{extra} @ {url}"


def is_installed(extra: str) -> bool:
    """Return whether one of `LIBRARIES` is installed, without importing its library."""
    from importlib.util import find_spec

    try:
        return find_spec(LIBRARIES[extra]) is not None
    except ValueError:
        # It was imported, and has no origin.
        return False


def find_installation() -> Installation:
    """Return how this package was installed; a checkout that was not is taken as editable."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(PACKAGE)
        installer = (found.read_text("INSTALLER") or "").strip()
        text = found.read_text("direct_url.json")
        origin = json.loads(text) if text else None
    except (PackageNotFoundError, OSError, ValueError):
        installer, origin = "", None
    checkout = Path(__file__).parents[1]
    if origin is None and (checkout / "setup.cfg").is_file():
        origin = {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    return Installation(program=_program(Path(sys.prefix), installer), origin=origin)


def _program(prefix: Path, installer: str) -> str:
    """Return what installs packages into an environment.

    Args:
        prefix: Folder of the environment.
        installer: Name of the program that installed the package.
    """
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx install --force"
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool install --force"
    return "uv pip install" if installer == "uv" else "pip install"
