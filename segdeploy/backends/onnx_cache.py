"""Graphs that ONNX Runtime has optimized, kept in the user's cache, so that networks start faster.

Such a graph holds for one file, one version of ONNX Runtime and one kind of processor. It is read
only from a folder that nobody else can write to, and only if it is whole.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import onnxruntime

from segdeploy.system.cache import private_cache_folder, remove_oldest
from segdeploy.system.files import write_bytes
from segdeploy.system.machine import CPU, features, processor

MOST = 256 << 20
"""Bytes of all graphs that are kept; those that were not used for longest are removed."""

LARGEST = 64 << 20
"""Bytes of the largest file whose graph is kept."""

EXTERNAL = b"\x0a\x08location"
"""In an ONNX file, what stands before the name of another file with tensors."""

DIGEST = 32
"""Bytes of the SHA-256 at the front of a kept graph."""


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
