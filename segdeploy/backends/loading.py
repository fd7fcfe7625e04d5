"""From a path to a loaded network.

The file's ending tells the runtime, which is imported only then.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdeploy.backends.base import Backend, card_of
from segdeploy.card import CHECKSUM_KEY, ModelCard
from segdeploy.errors import ConfigError, MissingExtraError, ModelError
from segdeploy.system.files import PART


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of artifact, and the modules that know it.

    Attributes:
        name: Name of the runtime, as `--backend` spells it.
        runner: "MODULE:FUNCTION" of this folder, called as `load(path, device, threads, spinning,
            callers)`.
        reader: "MODULE:FUNCTION" of this folder, called as `read_texts(path)`, which needs the
            runtime only where the format does; the module of an exported file has `checksum(path,
            leave_out)` too.
        library: What the runtime is imported as.
        extra: Extra that installs it; "" where the package itself does.
        companion: Ending of a second file beside each, without which it is nothing; "" where there
            is none.
    """

    name: str
    runner: str
    reader: str
    library: str
    extra: str
    companion: str = ""

    def companions(self, path: Path) -> list[Path]:
        """Return the second file of an artifact, also of one that still has a temporary name."""
        if not self.companion:
            return []
        part = path.suffix == PART
        return [
            (
                path.with_suffix("").with_suffix(f"{self.companion}{PART}")
                if part
                else path.with_suffix(self.companion)
            )
        ]

    def load(
        self,
        path: Path,
        *,
        device: str = "auto",
        threads: int | None = None,
        spinning: bool = True,
        callers: int = 1,
    ) -> Backend:
        """Load a file of this kind, whatever its ending; see `load_backend`."""
        module, _, function = self.runner.partition(":")
        backend: Backend = getattr(self._import(module), function)(
            path, device=device, threads=threads, spinning=spinning, callers=callers
        )
        return backend

    def read_texts(self, path: Path) -> Mapping[str, str]:
        """Read the texts that a file of this kind carries, by their keys."""
        module, _, function = self.reader.partition(":")
        texts: Mapping[str, str] = getattr(self._import(module), function)(path)
        return texts

    def checksum(self, path: Path) -> str:
        """Return the SHA-256 over an exported file of this kind, but for the place where the checksum itself stands."""
        digest: str = self._import(self.reader.partition(":")[0]).checksum(
            path, leave_out=CHECKSUM_KEY
        )
        return digest

    def _import(self, module: str) -> Any:  # noqa: ANN401 - the modules share functions, not a type
        try:
            return importlib.import_module(f"segdeploy.backends.{module}")
        except ModuleNotFoundError as error:
            if error.name != self.library:
                raise
            raise MissingExtraError(self.library, self.extra) from error


KINDS: Mapping[str, Kind] = {
    ".pt": Kind(
        name="torch",
        runner="pytorch:load_eager",
        reader="pytorch:read_checkpoint_texts",
        library="torch",
        extra="train",
    ),
    ".onnx": Kind(
        name="onnxruntime",
        runner="onnx_runtime:load",
        reader="onnx_metadata:read_texts",
        library="onnxruntime",
        extra="",
    ),
    ".torchscript": Kind(
        name="torchscript",
        runner="pytorch:load_torchscript",
        reader="torch_metadata:read_texts",
        library="torch",
        extra="train",
    ),
    ".pt2": Kind(
        name="pt2",
        runner="pytorch:load_exported_program",
        reader="torch_metadata:read_program_texts",
        library="torch",
        extra="train",
    ),
    ".xml": Kind(
        name="openvino",
        runner="openvino_runtime:load",
        reader="openvino_metadata:read_texts",
        library="openvino",
        extra="openvino",
        companion=".bin",
    ),
}
"""Kinds of artifacts by the ending of their files."""

BACKENDS = ("auto", *(kind.name for kind in KINDS.values()))


def load_backend(
    path: Path,
    *,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = True,
    callers: int = 1,
) -> Backend:
    """Load an artifact with the runtime that it was made for.

    Args:
        path: A file with one of the endings in `KINDS`.
        backend: "auto", or the name of the runtime that must run it.
        device: "auto", "cpu", "cuda" or "cuda:n"; `.device` of the answer tells what was granted.
        threads: Threads of one operation; all allowed cores where None.
        spinning: Whether ONNX Runtime's idle threads keep their core busy; a pipeline says False.
        callers: How many threads will call `run` at the same time, each with `threads` of its own.

    Raises:
        ModelError: The file is missing, of an unknown kind, or damaged.
        CardError: It carries no usable card.
        ConfigError: The runtime that was named does not run this kind of file.
        DeviceError: The device was asked for and not granted.
        MissingExtraError: The runtime's library is not installed.
    """
    kind = kind_of(path)
    if backend not in ("auto", kind.name):
        msg = (
            f"{path} is run by {kind.name}, not by {backend!r}; leave --backend out, or name a file"
            " of that kind"
        )
        raise ConfigError(msg)
    return kind.load(path, device=device, threads=threads, spinning=spinning, callers=callers)


def read_card(path: Path) -> ModelCard:
    """Read an artifact's card, without starting a runtime where the format allows it.

    Raises:
        ModelError: The file is missing, of an unknown kind, or damaged.
        CardError: It carries no usable card.
    """
    return card_of(kind_of(path).read_texts(path), source=str(path))


def kind_of(path: Path) -> Kind:
    """Return what kind of artifact a file is, by its ending.

    Raises:
        ModelError: The file is missing, or has an unknown ending.
    """
    if not path.is_file():
        msg = (
            f"there is no file {path}; name a file that 'segdeploy train' or 'segdeploy export'"
            " wrote"
        )
        raise ModelError(msg)
    if path.suffix not in KINDS:
        msg = f"{path} ends with {path.suffix!r}; an artifact ends with {', '.join(KINDS)}"
        raise ModelError(msg)
    return KINDS[path.suffix]
