"""The files among which `segdeploy tune` chooses: a checkpoint in each format, precision, size."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from segdeploy.backends.loading import read_card
from segdeploy.card import InputSpec
from segdeploy.errors import SegdeployError

from ..measure.subcommands import call

CHECKPOINT = ".pt"

FORMS = (
    ("onnx", ".onnx", "int8"),
    ("openvino", ".xml", "int8"),
    ("openvino", ".xml", "bf16"),
    ("onnx", ".onnx", "fp32"),
    ("openvino", ".xml", "fp32"),
)
"""Format, suffix and precision of each file, the usually fastest first: time may run out."""


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """The files that were made.

    Attributes:
        paths: Path of each file by its name, for example "onnx int8 360x480".
        notes: Why others were not made, a sentence each.
    """

    paths: Mapping[str, Path]
    notes: tuple[str, ...]


def scaled_sizes(spec: InputSpec, scales: Sequence[float]) -> list[tuple[int, int]]:
    """Return the network's input sizes for shares of its own, each a multiple of the stride."""
    sizes = []
    for scale in scales:
        height, width = (
            max(spec.stride, round(side * scale / spec.stride) * spec.stride)
            for side in (spec.height, spec.width)
        )
        sizes.append((spec.height, spec.width) if scale == 1 else (height, width))
    return list(dict.fromkeys(sizes))


def export_files(
    checkpoint: Path,
    folder: Path,
    *,
    scales: Sequence[float],
    options: Sequence[str],
    left: Callable[[], float],
    on_file: Callable[[str], None],
    run: Callable[[Sequence[str], float], str] = call,
    clock: Callable[[], float] = time.monotonic,
    has_openvino: bool = find_spec("openvino") is not None,
) -> FileSet:
    """Export a checkpoint to every format and precision at each size, each proven.

    Files that are there are taken as they are. An export that takes more than half of the time that
    is left is ended, and left out; so are others that would, judged by the longest one before.

    Args:
        checkpoint: The checkpoint.
        folder: Folder of the files.
        scales: Shares of the network's own size.
        options: Further options of `segdeploy export`.
        left: Returns the seconds that are left.
        on_file: Called with the name of each file before it is made.
        run: Runs `segdeploy export`, for at most so many seconds.
        clock: Returns seconds.
        has_openvino: Whether the extra openvino is installed.
    """
    paths, notes, longest = {}, [], 0.0
    for size in scaled_sizes(read_card(checkpoint).input, scales):
        for kind, suffix, precision in FORMS:
            if kind == "openvino" and not has_openvino:
                continue
            side = "x".join(map(str, size))
            name = f"{kind} {precision} {side}"
            path = folder / f"{checkpoint.stem}-{precision}-{side}{suffix}"
            if not path.exists():
                if longest > left() / 2:
                    notes.append(f"{name} was left out, since its export would take too long")
                    continue
                on_file(f"export {name}")
                start = clock()
                arguments = ["--format", kind, "--precision", precision, "--output-file", str(path)]
                arguments += ["--imgsz", ",".join(map(str, size)), *options]
                try:
                    run(["segdeploy", "export", str(checkpoint), *arguments], left() / 2)
                except SegdeployError as error:
                    notes.append(f"{name} was left out: {error}")
                    continue
                finally:
                    longest = max(longest, clock() - start)
            paths[name] = path
    if not has_openvino:
        notes.append(
            "the extra openvino is not installed, whose int8 is often the fastest on processors"
            " with VNNI"
        )
    return FileSet(paths=paths, notes=tuple(notes))
