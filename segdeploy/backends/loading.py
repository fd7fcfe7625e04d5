"""From the path of an artifact to a loaded network.

The suffix of the file decides the runtime, which is imported only then.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from segdeploy import assets
from segdeploy.backends.base import (
    Backend,
    RuntimeOptions,
    card_from_metadata,
    companion_of,
    empty_batch,
    network_budget,
)
from segdeploy.card import CHECKSUM_KEY, ModelCard
from segdeploy.errors import (
    CardError,
    ConfigError,
    DeviceError,
    MissingExtraError,
    MissingModelError,
    ModelError,
    SegdeployError,
)
from segdeploy.system.budget import VARIABLE
from segdeploy.system.concurrency import PYTHON
from segdeploy.system.machine import limited_memory

AVX2 = 11
"""OpenCV's number for AVX2 in `CpuFeatures`; its Python module has no name for it."""

PROBE = "import sys; from segdeploy.backends.loading import run_once; run_once(*sys.argv[1:])"
"""What the process does that tries a file."""

PROBE_SECONDS = 25.0
PROBE_RATE = 4 << 20
"""How long a file may take to run once: so many seconds, and one for so many bytes of its size."""

FAILED = 3
"""Exit code of a process that could not run a file, and has written why as the last line."""

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
        companion_suffixes: Suffixes of the other files that belong to each artifact.
        may_crash: Whether the runtime ends the process on a damaged file, so that a file runs once
            in a process of its own before it is loaded.
    """

    name: str
    loader: str
    metadata_reader: str
    library: str
    extra: str
    companion_suffixes: tuple[str, ...] = ()
    may_crash: bool = False

    def companions(self, path: Path) -> list[Path]:
        """Return the other files of an artifact, also of one that still has a temporary name."""
        return [companion_of(path, suffix) for suffix in self.companion_suffixes]

    def load(self, path: Path, options: RuntimeOptions | None = None) -> Backend:
        """Load a file of this kind, whatever its suffix; raises what `load_backend` raises."""
        options = options or RuntimeOptions()
        if self.may_crash and options.probe and not options.trust:
            probe(path, self, device=options.device)
        backend: Backend = self._function(self.loader)(path, options)
        return backend

    def import_loader(self) -> None:
        """Import the runtime, so that loading a file takes memory for the file only."""
        self._function(self.loader)

    def read_card(self, path: Path) -> ModelCard:
        """Return the card of a file of this kind; raises what `read_card` raises."""
        return card_from_metadata(self.read_metadata(path), source=str(path))

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
        companion_suffixes=(".bin",),
        may_crash=True,
    ),
    ".mnn": ArtifactKind(
        name="mnn",
        loader="mnn_runtime:load",
        metadata_reader="sidecar:read_metadata",
        library="MNN",
        extra="mobile",
        companion_suffixes=(".mnn.json",),
        may_crash=True,
    ),
    ".param": ArtifactKind(
        name="ncnn",
        loader="ncnn_runtime:load",
        metadata_reader="sidecar:read_metadata",
        library="ncnn",
        extra="mobile",
        companion_suffixes=(".bin", ".param.json"),
        may_crash=True,
    ),
}
"""Kinds of artifacts by the suffix of their files."""


def bundled_name(device: str) -> str:
    """Return the name of the bundled model that suits a device.

    Args:
        device: As in `RuntimeOptions`.

    Raises:
        DeviceError: There is no such device.
    """
    # Only where no model was named: a checkpoint needs no ONNX Runtime, and a card no OpenCV.
    import cv2

    from segdeploy.backends.onnx_providers import CPU, request_providers

    return assets.choose_model(
        on_processor=request_providers(device) == [CPU], has_avx2=cv2.checkHardwareSupport(AVX2)
    )


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
    cache: bool = False,
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
        cache: Whether what the runtime prepares is kept in the user's cache.

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
        cache=cache,
    )
    return kind.load(path, options)


def read_card(path: Path) -> ModelCard:
    """Return the card of an artifact, without starting a runtime where the format allows it.

    Raises:
        ModelError: The file is missing, of an unknown kind, or damaged.
        CardError: It has no usable card.
    """
    return kind_of(path).read_card(path)


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
        raise MissingModelError(msg)
    if path.suffix not in KINDS:
        msg = f"{path} ends with {path.suffix!r}; an artifact ends with {', '.join(KINDS)}"
        raise ModelError(msg)
    return KINDS[path.suffix]


_probed: set[str] = set()
"""Checksums of files that ran, in this process or in one that it started."""


def probe(path: Path, kind: ArtifactKind, *, device: str, seconds: float = PROBE_SECONDS) -> None:
    """Run a file once in a process of its own, with limited memory and time, unless it ran before.

    Args:
        path: The file.
        kind: Its kind, whatever its suffix.
        device: As in `RuntimeOptions`.
        seconds: How long it may take, besides a second for `PROBE_RATE` bytes.

    Raises:
        ModelError: The runtime crashed, took too long or too much memory, or refused the file.
        CardError: It has no usable card.
        DeviceError: The device is not available.
    """
    total = hashlib.sha256(f"{kind.name} {device}".encode())
    size = 0
    for file in (path, *kind.companions(path)):
        if not file.is_file():
            return
        size += file.stat().st_size
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    if total.hexdigest() in _probed:
        return
    seconds += size / PROBE_RATE
    try:
        done = subprocess.run(  # noqa: S603 - this Python and arguments of ours
            [*PYTHON, "-c", PROBE, str(path), kind.name, device],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        msg = (
            f"{path} was not loaded: {kind.name} did not run it once within {seconds:.3g} s, in a"
            " process of its own; --trust loads it without this test"
        )
        raise ModelError(msg) from error
    if done.returncode == FAILED:
        raise _failure(done.stdout)
    if not 0 <= done.returncode <= MAX_EXIT_CODE:
        msg = (
            f"{path} is damaged: {kind.name} crashed on it, in a process of its own (code"
            f" {done.returncode}); export it again"
        )
        raise ModelError(msg)
    _probed.add(total.hexdigest())


def _failure(output: bytes) -> SegdeployError:
    """Return the error that a process wrote as the last line of its output."""
    name, message = json.loads(output.splitlines()[-1])
    kinds = {error.__name__: error for error in (CardError, DeviceError)}
    return kinds.get(name, ModelError)(message)


def run_once(path: str, name: str, device: str) -> None:
    """Load a file and run it on a black image, within the memory that a network may take.

    What is wrong with it is written to stdout and nothing else, and the process ends with `FAILED`.

    Args:
        path: The file.
        name: Name of its kind.
        device: As in `RuntimeOptions`.
    """
    # A runtime may print to stdout, also when the process ends.
    answer = os.dup(1)
    os.dup2(2, 1)
    file = Path(path)
    kind = next(kind for kind in KINDS.values() if kind.name == name)
    try:
        spec = kind.read_card(file).input
        # What the runtime takes for itself does not count.
        kind.import_loader()
        size = sum(part.stat().st_size for part in (file, *kind.companions(file)))
        with limited_memory(network_budget(spec.height * spec.width, size)):
            backend = kind.load(file, RuntimeOptions(device=device, probe=False))
            backend.run(empty_batch(spec))
    except SegdeployError as error:
        failure = [type(error).__name__, str(error)]
    except MemoryError:
        message = (
            f"{path} takes more memory than it may; set {VARIABLE} to a larger size if you trust it"
        )
        failure = ["ModelError", message]
    else:
        return
    os.write(answer, json.dumps(failure).encode())
    sys.exit(FAILED)
