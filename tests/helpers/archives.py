"""Archives of PyTorch, written again with other entries."""

import zipfile
from collections.abc import Callable
from pathlib import Path

Change = Callable[[dict[str, bytes]], object]


def entries_of(path: Path) -> dict[str, bytes]:
    """Return the entries of an archive, by their names without the top folder."""
    with zipfile.ZipFile(path) as archive:
        return {
            entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()
        }


def changed(source: Path, target: Path, change: Change) -> Path:
    """Write an archive again with other entries, by their names without the top folder."""
    entries = entries_of(source)
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"archive/{name}", content)
    return target
