"""From the path of an artifact to a loaded network.

The suffix of the file decides the runtime, which is imported only then.
"""

import hashlib
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from segdeploy.backends.base import Backend, RuntimeOptions, card_from_metadata
from segdeploy.card import CHECKSUM_KEY, ModelCard
from segdeploy.errors import ConfigError, MissingExtraError, ModelError
from segdeploy.system.concurrency import PYTHON
from segdeploy.system.files import PART

PROBE = "import sys; from segdeploy.backends.loading import run_once; run_once(*sys.argv[1:])"
"""What the process does that tries a file."""

MAX_EXIT_CODE = 255
"""Windows ends a process that crashed with a larger code, other systems with a negative one."""


@dataclass(frozen=True, kw_only=True)
class ArtifactKind:
    """One kind of artifact, and the modules of `segdeploy.backends` that handle it.

    The modules are named by text, so that nothing imports a runtime that is not needed.

    Attributes:
        name: Name of the runtime, as `--backend` spells it.
        loader: "MODULE:FUNCTION", called as `load(path, options)`.
        metadata_reader: "MODULE:FUNCTION", called as `read_metadata(path)`; it imports the runtime
            only where the format demands it. The module of an exported format also has
            `checksum(path, leave_out)`.
        library: What the runtime is imported as.
        extra: Extra of the package that installs it; "" where the package itself does.
        companion: Suffix of the second file that belongs to each artifact; "" without one.
        may_crash: Whether the runtime ends the process on a damaged file, so that a file runs once
            in a process of its own before it is loaded.
    """

    name: str
    loader: str
    metadata_reader: str
    library: str
    extra: str
    companion: str = ""
    may_crash: bool = False

    def companions(self, path: Path) -> list[Path]:
        """Return the second file of an artifact, also of one that still has a temporary name."""
        if not self.companion:
            return []
        if path.suffix == PART:
            return [path.with_suffix("").with_suffix(f"{self.companion}{PART}")]
        return [path.with_suffix(self.companion)]

    def load(self, path: Path, options: RuntimeOptions | None = None) -> Backend:
        """Load a file of this kind, whatever its suffix; raises what `load_backend` raises."""
        options = options or RuntimeOptions()
        if self.may_crash and options.probe and not options.trust:
            probe(path, self, device=options.device)
        backend: Backend = self._function(self.loader)(path, options)
        return backend

    def read_metadata(self, path: Path) -> Mapping[str, str]:
        """Return the texts that a file of this kind carries, by their keys."""
        metadata: Mapping[str, str] = self._function(self.metadata_reader)(path)
        return metadata

    def checksum(self, path: Path) -> str:
        """Return the SHA-256 of an exported file, without the entry that holds the checksum."""
        module, _, _ = self.metadata_reader.partition(":")
        digest: str = self._function(f"{module}:checksum")(path, leave_out=CHECKSUM_KEY)
        return digest

    def _function(self, name: str) -> Callable[..., Any]:
        module, _, function = name.partition(":")
        try:
            loaded = import_module(f"segdeploy.backends.{module}")
        except ModuleNotFoundError as error:
            if error.name != self.library:
                raise
            raise MissingExtraError(self.library, self.extra) from error
        found: Callable[..., Any] = getattr(loaded, function)
        return found


KINDS: Mapping[str, ArtifactKind] = {
    ".pt": ArtifactKind(
        name="torch",
        loader="pytorch:load_eager",
        metadata_reader="pytorch:read_checkpoint_metadata",
        library="torch",
        extra="train",
    ),
    ".onnx": ArtifactKind(
        name="onnxruntime",
        loader="onnx_runtime:load",
        metadata_reader="onnx_metadata:read_metadata",
        library="onnxruntime",
        extra="",
    ),
    ".torchscript": ArtifactKind(
        name="torchscript",
        loader="pytorch:load_torchscript",
        metadata_reader="torch_metadata:read_metadata",
        library="torch",
        extra="train",
    ),
    ".pt2": ArtifactKind(
        name="pt2",
        loader="pytorch:load_exported_program",
        metadata_reader="torch_metadata:read_metadata",
        library="torch",
        extra="train",
    ),
    ".xml": ArtifactKind(
        name="openvino",
        loader="openvino_runtime:load",
        metadata_reader="openvino_metadata:read_metadata",
        library="openvino",
        extra="openvino",
        companion=".bin",
        may_crash=True,
    ),
}
"""Kinds of artifacts by the suffix of their files."""

BACKENDS = ("auto", *(kind.name for kind in KINDS.values()))
"""What `--backend` accepts."""


def load_backend(
    path: Path,
    *,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    spinning: bool = True,
    callers: int = 1,
    trust: bool = False,
    probe: bool = True,
) -> Backend:
    """Load an artifact with the runtime of its format.

    Args:
        path: A file with one of the suffixes in `KINDS`.
        backend: "auto", or the name of the runtime that must run it.
        device: See `RuntimeOptions`, like all that follows; `.device` of the loaded backend names
            the device in use.
        threads: Threads of one operator; all cores that the process may use where None.
        spinning: Whether idle threads of ONNX Runtime keep their core busy; off in a pipeline.
        callers: How many threads will call `run` at the same time, each with `threads` of its own.
        trust: Whether the file may hold what could run code; see `RuntimeOptions`.
        probe: Whether a file that may end the process runs once in another one first.

    Raises:
        ModelError: The file is missing, of an unknown kind, or damaged.
        UntrustedError: It holds more than a network needs, and is not trusted.
        CardError: It has no usable card.
        ConfigError: The named runtime does not run this kind of file.
        DeviceError: The device is not available.
        MissingExtraError: The runtime's library is not installed.
    """
    kind = kind_of(path)
    if backend not in ("auto", kind.name):
        msg = (
            f"{path} is run by {kind.name}, not by {backend!r}; leave --backend out, or name a file"
            " of that kind"
        )
        raise ConfigError(msg)
    options = RuntimeOptions(
        device=device,
        threads=threads,
        spinning=spinning,
        callers=callers,
        trust=trust,
        probe=probe,
    )
    return kind.load(path, options)


def read_card(path: Path) -> ModelCard:
    """Return the card of an artifact, without starting a runtime where the format allows it.

    Raises:
        ModelError: The file is missing, of an unknown kind, or damaged.
        CardError: It has no usable card.
    """
    return card_from_metadata(kind_of(path).read_metadata(path), source=str(path))


def kind_of(path: Path) -> ArtifactKind:
    """Return the kind of an artifact by the suffix of its file.

    Raises:
        ModelError: The file is missing, or has an unknown suffix.
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


_probed: set[str] = set()
"""Checksums of files that ran, in this process or in one that it started."""


def probe(path: Path, kind: ArtifactKind, *, device: str) -> None:
    """Run a file once in a process of its own, unless it ran before.

    What is wrong with a file that ends with an error is left to be reported when it is loaded.

    Args:
        path: The file.
        kind: Its kind, whatever its suffix.
        device: As in `RuntimeOptions`.

    Raises:
        ModelError: The runtime crashed.
    """
    total = hashlib.sha256(f"{kind.name} {device}".encode())
    for file in (path, *kind.companions(path)):
        if not file.is_file():
            return
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    if total.hexdigest() in _probed:
        return
    code = subprocess.run(  # noqa: S603 - this Python and arguments of ours
        [*PYTHON, "-c", PROBE, str(path), kind.name, device],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode
    if not 0 <= code <= MAX_EXIT_CODE:
        msg = (
            f"{path} is damaged: {kind.name} crashed on it, in a process of its own (code {code});"
            " export it again"
        )
        raise ModelError(msg)
    _probed.add(total.hexdigest())


def run_once(path: str, name: str, device: str) -> None:
    """Load a file and run it on a black image.

    Args:
        path: The file.
        name: Name of its kind.
        device: As in `RuntimeOptions`.
    """
    kind = next(kind for kind in KINDS.values() if kind.name == name)
    backend = kind.load(Path(path), RuntimeOptions(device=device, probe=False))
    spec = backend.card.input
    backend.run(np.zeros((1, spec.height, spec.width, 3), np.uint8))
