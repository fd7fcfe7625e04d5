"""MNN: a small runtime for phones and boards; here it runs on the CPU."""

import contextlib
import ctypes
import os
import platform
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import (
    INPUT,
    RuntimeOptions,
    card_from_metadata,
    check_batch,
    check_output,
)
from segdeploy.backends.sidecar import check_unchanged, read_metadata
from segdeploy.card import ModelCard
from segdeploy.errors import DeviceError, ModelError
from segdeploy.system.machine import cores


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Drop what a library prints to stdout, which is for results: MNN reports its options there."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as sink:
            os.dup2(sink.fileno(), 1)
        yield
    finally:
        if os.name == "posix":
            # Lines that the library's own buffer still holds.
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


with quiet_stdout():
    from MNN import expr, nn

FAILURES = (RuntimeError, ValueError, TypeError, IndexError, MemoryError, SystemError)
"""What MNN's Python module raises for a file that it cannot use or run."""

SMALL_WINOGRAD = (3, 0)
"""MNN's number of the hint for Winograd's tiles, and its smallest ones: larger ones lose a thousand
times more to rounding."""

HALF = platform.machine().lower() in ("aarch64", "arm64")
"""Whether MNN computes in float16 where it may: it does on ARM only."""


class MnnBackend:
    """A network of MNN."""

    def __init__(self, path: Path, card: ModelCard, *, threads: int) -> None:
        """Wrap a file.

        Args:
            path: The file.
            card: Its card.
            threads: Threads of one operator.
        """
        self._path = path
        self._card = card
        self._threads = threads
        self._in_half = HALF and card.precision == "fp16"
        # A module serves one thread at a time.
        self._local = threading.local()

    @property
    def card(self) -> ModelCard:
        """Return the card beside the file."""
        return self._card

    @property
    def device(self) -> str:
        """Return the device, and the precision that it computes in."""
        return f"mnn CPU {'f16' if self._in_half else 'f32'}"

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output for (N, H, W, 3) uint8 RGB images; see `Backend.run`.

        Raises:
            ConfigError: The card does not allow the batch.
            ModelError: MNN cannot run the file, or its output contradicts the card.
        """
        check_batch(batch, self._card)
        output: NetworkOutput = self.compute([self._card.output], batch)[0]
        check_output(output, batch, self._card, source=str(self._path))
        return output

    def compute(self, names: Sequence[str], batch: Batch) -> list[Any]:
        """Return tensors of the network for a batch.

        Args:
            names: Their names in the file.
            batch: Images, as the card says.

        Raises:
            ModelError: MNN cannot run the file.
        """
        is_bytes = batch.dtype == np.uint8
        values = np.ascontiguousarray(batch, np.uint8 if is_bytes else np.float32)
        try:
            # Dimensions as they are: the graph itself says that channels come last.
            image = expr.const(
                values, list(values.shape), expr.NCHW, expr.uint8 if is_bytes else expr.float
            )
            outputs = self._module(tuple(names)).forward([image])
            return [np.array(expr.convert(output, expr.NCHW).read()) for output in outputs]
        except FAILURES as error:
            raise self._cannot_run(error) from error

    def open(self) -> None:
        """Load the file.

        Raises:
            ModelError: MNN cannot use it.
        """
        try:
            with quiet_stdout():
                self._module((self._card.output,))
        except FAILURES as error:
            raise self._cannot_run(error) from error

    def _module(self, names: tuple[str, ...]) -> Any:  # noqa: ANN401 - MNN has no types
        """Return this thread's module that computes some tensors."""
        if not hasattr(self._local, "modules"):
            self._local.modules = {}
        modules: dict[tuple[str, ...], Any] = self._local.modules
        if names not in modules:
            precision = "low" if self._in_half else "high"
            manager = nn.create_runtime_manager(
                ({"backend": "CPU", "precision": precision, "numThread": self._threads},)
            )
            manager.set_hint(*SMALL_WINOGRAD)
            modules[names] = nn.load_module_from_file(
                str(self._path), [INPUT], list(names), runtime_manager=manager
            )
        return modules[names]

    def _cannot_run(self, error: Exception) -> ModelError:
        reason = " ".join(str(error).split())[:200]
        return ModelError(f"MNN cannot run {self._path} ({reason}); export it again")


def load(path: Path, options: RuntimeOptions) -> MnnBackend:
    """Load a file that `segdeploy export --format mnn` wrote; its metadata lie beside it.

    Args:
        path: The file.
        options: The device is "auto" or "cpu".

    Raises:
        ModelError: The file is missing, damaged, not of one export with its metadata, or
            contradicts its card.
        CardError: It has no usable card.
        DeviceError: The device is not the CPU.
    """
    metadata = read_metadata(path)
    card = card_from_metadata(metadata, source=str(path))
    if options.device not in ("auto", "cpu"):
        msg = f"the device {options.device!r} is not available: MNN runs on the cpu here"
        raise DeviceError(msg)
    if not options.trust:
        check_unchanged(path, metadata)
    backend = MnnBackend(path, card, threads=options.threads or cores())
    backend.open()
    return backend
