"""Sessions of ONNX Runtime: their options, their limit of memory, and optimized graphs.

Graphs are kept in the user's cache, so that networks start faster. One holds for one file, one
version of ONNX Runtime and one kind of processor. It is read only from a folder that nobody else
can write to, and only if it is whole.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from segdeploy.backends.onnx_providers import ProviderRequest
from segdeploy.errors import SegdeployError
from segdeploy.system.cache import private_cache_folder, remove_oldest
from segdeploy.system.files import temporary_folder, write_bytes
from segdeploy.system.machine import CPU, features, processor

CPU_MEMORY = onnxruntime.OrtMemoryInfo(
    "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
)
"""The memory that sessions take from the allocator of the process."""

LOG_FATAL = 4
"""Log level of ONNX Runtime. Errors below it are raised too, and reported by this module."""

FAILURES = (
    failures.EPFail,
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NoModel,
    failures.NotImplemented,
    failures.RuntimeException,
    # Exceptions of C++ that it does not name.
    IndexError,
    MemoryError,
    OverflowError,
    RuntimeError,
    # Also a UnicodeDecodeError, where a damaged name stands in the message.
    ValueError,
)
"""What ONNX Runtime raises for a file that it cannot use or run."""

MOST = 256 << 20
"""Bytes of all graphs that are kept; those that were not used for longest are removed."""

LARGEST = 64 << 20
"""Bytes of the largest file whose graph is kept."""

EXTERNAL = b"\x0a\x08location"
"""In an ONNX file, what stands before the name of another file with tensors."""

DIGEST = 32
"""Bytes of the SHA-256 at the front of a kept graph."""

_registration = threading.Lock()
"""Held while the limit of memory of the next session is set, which belongs to the process."""


def session_options(threads: int, *, spinning: bool) -> onnxruntime.SessionOptions:
    """Return options for so many threads of one operator; `spinning` as in `RuntimeOptions`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_FATAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    return options


def create_session(
    graph: Path | bytes,
    settings: onnxruntime.SessionOptions,
    *,
    providers: ProviderRequest,
    limit: int | None,
    foldable: bool,
) -> onnxruntime.InferenceSession:
    """Create a session that takes a limited amount of CPU memory.

    Args:
        graph: The file, or its bytes.
        settings: Options of the session.
        providers: As `request_providers` returns them.
        limit: Bytes for weights and tensors together; None for any amount.
        foldable: Whether constants are computed in advance, which no limit holds for.
    """
    with _registration:
        if limit is not None:
            # A session takes the allocator that is registered when it is created, and keeps it.
            onnxruntime.create_and_register_allocator(
                CPU_MEMORY, onnxruntime.OrtArenaCfg({"max_mem": limit})
            )
            settings.add_session_config_entry("session.use_env_allocators", "1")
        session = onnxruntime.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph),
            settings,
            providers=providers,
            disabled_optimizers=None if foldable else ["ConstantFolding"],
        )
    session.disable_fallback()
    return session


@dataclass(frozen=True)
class GraphCache:
    """Where the optimized graph of one file is kept.

    Attributes:
        path: The kept graph: its SHA-256, then an ONNX file.
    """

    path: Path

    @classmethod
    def of(cls, content: bytes, *, foldable: bool) -> Self | None:
        """Return where the graph of a file is kept; None where none is.

        Args:
            content: Bytes of the file.
            foldable: Whether constants are computed in advance.
        """
        if len(content) > LARGEST or EXTERNAL in content:
            return None
        folder = private_cache_folder("graphs")
        if folder is None:
            return None
        machine = f"{onnxruntime.__version__} {processor()} {features(CPU)} {foldable}"
        key = hashlib.sha256(machine.encode() + hashlib.sha256(content).digest())
        return cls(folder / f"{key.hexdigest()}.graph")

    def read(self) -> bytes | None:
        """Return the kept graph, an ONNX file; None where there is none, or a damaged one."""
        try:
            content = self.path.read_bytes()
            graph = content[DIGEST:]
            if hashlib.sha256(graph).digest() != content[:DIGEST]:
                return None
            os.utime(self.path)
        except OSError:
            return None
        return graph

    def write(self, graph: bytes) -> None:
        """Keep a graph, and remove those that were not used for longest.

        Raises:
            SegdeployError: It cannot be written, or another process is writing it.
        """
        write_bytes(self.path, hashlib.sha256(graph).digest() + graph)
        remove_oldest(self.path.parent, MOST)


def cached_session(
    path: Path,
    cache: GraphCache,
    create: Callable[[Path | bytes, onnxruntime.SessionOptions], onnxruntime.InferenceSession],
    make_options: Callable[[], onnxruntime.SessionOptions],
) -> onnxruntime.InferenceSession:
    """Return a session of the optimized graph that is kept, or of the file, whose graph is kept.

    Args:
        path: The file.
        cache: Where its graph is kept.
        create: Creates a session from a file or its bytes.
        make_options: Returns new options of a session.
    """
    graph = cache.read()
    if graph is not None:
        options = make_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        with suppress(*FAILURES):
            return create(graph, options)
    # Where it cannot be written, as on a full disk, the network still runs.
    with suppress(*FAILURES, SegdeployError), temporary_folder(cache.path.parent) as folder:
        options, optimized = make_options(), folder / "graph.onnx"
        options.optimized_model_filepath = str(optimized)
        session = create(path, options)
        with suppress(SegdeployError):
            cache.write(optimized.read_bytes())
        return session
    return create(path, make_options())
