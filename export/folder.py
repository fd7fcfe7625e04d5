"""Folders that an export writes whole, in place of those only that an export wrote."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from segdeploy.errors import OutputError
from segdeploy.system.files import PART, cannot_write


@dataclass(frozen=True, kw_only=True)
class Signature:
    """How a folder shows that an export wrote it.

    Attributes:
        file: Name of a file in it.
        text: How that file begins.
    """

    file: str
    text: str

    def is_in(self, folder: Path) -> bool:
        """Return whether an export wrote a folder, so that another may replace it."""
        try:
            with (folder / self.file).open(errors="replace") as opened:
                return opened.read(len(self.text)) == self.text
        except OSError:
            return False


@contextmanager
def replacing_folder(path: Path, signature: Signature) -> Iterator[Path]:
    """Yield a new temporary folder beside a folder, and rename it to that when the block ends.

    When the block fails, it is removed, and all is as it was.

    Args:
        path: The folder; the one that it lies in is created if it is missing.
        signature: What a folder must have that may be replaced.

    Raises:
        OutputError: The folder cannot be written, or is not one that an export wrote.
    """
    parent = path.parent
    part, old = path.with_name(f".{path.name}{PART}"), path.with_name(f".{path.name}.old")
    if parent.is_file():
        msg = f"{parent} is a file; choose another name for the folder"
        raise OutputError(msg)
    if path.exists() and not signature.is_in(path):
        msg = f"{path} exists, and segdeploy did not write it; choose another name for the folder"
        raise OutputError(msg)
    is_new = not parent.exists()
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        if path.exists():
            path.rename(old)
        part.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        if is_new and not path.exists():
            with suppress(OSError):
                parent.rmdir()
