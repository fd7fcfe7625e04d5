"""Files written whole or not at all, temporary folders, the folders of runs, and caches."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from segdeploy.errors import OutputError
from segdeploy.system.locks import claim, lock
from segdeploy.system.posix import CAN_LOCK, NOFOLLOW, is_private

PART = ".part"
"""Suffix behind the name of a file that is not yet whole."""

PREFIX = "segdeploy-"
"""Beginning of the name of every temporary folder."""

OTHERS = 0o077
"""Bits of a mode by which somebody else may read or write; a scratch folder has none."""

LOCK = "lock"
"""File in a scratch folder on which every process that uses the folder holds a shared lock; the
system releases it however the process ends."""

SIGNATURE = b"segdeploy removes this folder once no process holds a lock on this file.\n"
"""Content of a lock, which tells a scratch folder of ours from a user's folder of such a name."""

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Numbers of the errors of a disk without room, a quota and a limit on the size of files."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name, and rename it when the block ends without an error.

    The bytes are synced to the disk before the rename, so that a crash leaves either the old file
    or the new one. When the block fails, the temporary file is removed. It is locked, so that two
    processes that write the same file do not mix their bytes.

    Example:
        ```python
        with replacing(Path("curves.png")) as part:
            figure.savefig(part, format="png")
        ```

    Args:
        path: Name that the finished file gets; its folder is created if it is missing.

    Yields:
        `path` with `.part` behind it, for the block to write.

    Raises:
        ConfigError: Another process is writing it.
        OutputError: The file cannot be written, for example because the disk is full.
    """
    make_folder(path.parent)
    refuse_device(path)
    part = path.with_name(path.name + PART)
    descriptor = _claim_empty(path, part)
    try:
        yield part
        sync(part)
        part.replace(path)
    except BaseException as error:
        # A second error must not hide the first.
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if not isinstance(error, OSError) or not _is_about(error, path, part):
            raise
        raise cannot_write(path, error) from error
    finally:
        if CAN_LOCK:
            os.close(descriptor)


def refuse_device(path: Path) -> None:
    """Check that a result does not replace a device or a pipe, such as /dev/full.

    Raises:
        OutputError: It would.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise cannot_write(path, OSError(errno.EINVAL, "it is a device or a pipe, not a file"))


def _claim_empty(path: Path, part: Path) -> int:
    """Claim the temporary file of a file, without what a killed process left in it."""
    try:
        descriptor = claim(part)
        os.ftruncate(descriptor, 0)
    except OSError as error:
        raise cannot_write(path, error) from error
    if not CAN_LOCK:
        # Windows does not rename a file that is open.
        os.close(descriptor)
    return descriptor


def make_folder(folder: Path) -> None:
    """Create a folder, and those above it, where they are missing; then files can be written to it.

    Raises:
        OutputError: One of them cannot be created, is no folder, or must not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_create(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        msg = f"nothing may be written to the folder {folder}; choose another one"
        raise OutputError(msg)


def cannot_create(folder: Path, error: OSError) -> OutputError:
    """Return the error of a folder that cannot be created; it names what is in the way."""
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    reason = error.strerror
    if nearest.is_symlink() and not nearest.exists():
        reason = f"{nearest} is a link to {nearest.readlink()}, which is not there"
    elif not nearest.is_dir():
        reason = f"{nearest} is not a folder"
    return OutputError(
        f"cannot create the folder {folder}: {reason}; make room for it, or choose another one"
    )


def make_part(part: Path) -> None:
    """Make an empty file in place of what has its name, so that whoever opens it follows no link.

    In a folder that others write to, a link of theirs would lead to any file of the user.

    Raises:
        OSError: The file cannot be made, or what has its name cannot be removed.
    """
    part.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW
    os.close(os.open(part, flags, 0o666))


def _is_about(error: OSError, path: Path, part: Path) -> bool:
    """Return whether an error is about this file, and not about something else in the block.

    The error of a full disk names no file, but has a number.
    """
    if error.filename is None:
        return error.errno is not None
    return error.filename in {str(name) for name in (part, path, *path.parents)}


def cannot_write(path: Path, reason: Exception | str) -> OutputError:
    """Return the error of a file that cannot be written.

    Args:
        path: Name that the finished file would have had.
        reason: What the operating system or a library reported.
    """
    text = getattr(reason, "strerror", None) or " ".join(str(reason).split())
    is_full = not isinstance(reason, OSError) or reason.errno in FULL
    fix = "free some space or choose another folder" if is_full else "choose another folder"
    return OutputError(f"cannot write {path}: {text}; {fix}")


def sync(path: Path) -> None:
    """Make sure that the bytes of a written file are on the disk."""
    # Windows syncs only files that are open for writing.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def exists(path: Path) -> bool:
    """Return whether there is such a file or folder; there is none of a name that is too long."""
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, or leave the old one as it was."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole text file in UTF-8, or leave the old one as it was.

    A byte of a file's name that is not UTF-8 becomes an escape that is JSON's too.
    """
    write_bytes(path, content.encode(errors="backslashreplace"))


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Create a folder for the files of a block, and remove it at the end.

    What a killed process left goes too.

    Args:
        parent: Folder in which it is created; None for the system's folder for temporary files.

    Yields:
        The folder.

    Raises:
        OutputError: The disk that holds it is full.
    """
    folder, held = make_scratch_folder(parent)
    try:
        yield folder
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:
            raise
        raise cannot_write_temporary_files(folder.parent, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def cannot_write_temporary_files(parent: Path, error: OSError) -> OutputError:
    """Return the error of a folder for temporary files that is full or cannot be written to."""
    return OutputError(
        f"cannot write temporary files to {parent}: {error.strerror or error}; free some space, or"
        " name another folder with TMPDIR"
    )


def make_scratch_folder(parent: Path | None) -> tuple[Path, int | None]:
    """Create a folder that several processes share, and remove those that are no longer used.

    Args:
        parent: Folder in which it is created; None for the system's folder for temporary files.

    Returns:
        The folder, and the descriptor of the lock that this process holds on it, to be closed when
        the folder is removed; None where there are no locks.

    Raises:
        OutputError: It cannot be created.
    """
    try:
        parent = parent or Path(gettempdir())
        remove_abandoned(parent)
        return _make_scratch_folder(parent)
    except OSError as error:
        # Without any folder for temporary files there is no `parent`.
        raise cannot_write_temporary_files(parent or Path("/tmp"), error) from error  # noqa: S108


def _make_scratch_folder(parent: Path) -> tuple[Path, int | None]:
    folder = Path(mkdtemp(prefix=PREFIX, dir=parent))
    if not CAN_LOCK:
        return folder, None
    # It gets its name once it is locked, so that no process finds it unlocked before.
    unnamed = folder / "unlocked"
    try:
        descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | NOFOLLOW, 0o600)
        os.write(descriptor, SIGNATURE)
    except OSError:
        # Without its lock nothing would ever remove it.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if lock(descriptor, shared=True):
        unnamed.rename(folder / LOCK)
    return folder, descriptor


def hold_folder(folder: Path) -> int | None:
    """Hold a scratch folder for one more process.

    Returns:
        The descriptor to close at the end; None where there is no lock, or the folder was removed.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | NOFOLLOW)
    except FileNotFoundError:
        return None
    lock(descriptor, shared=True)
    return descriptor


def remove_abandoned(parent: Path) -> None:
    """Remove the scratch folders of this user in here that no process holds.

    Folders without a lock of ours, and those that another user owns or may write to, are left
    alone.
    """
    if not CAN_LOCK:
        return
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if (
                entry.name.startswith(PREFIX)
                and entry.is_dir(follow_symlinks=False)
                and is_private(entry.stat(follow_symlinks=False), forbidden=OTHERS)
            ):
                _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(folder: Path) -> None:
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | NOFOLLOW)
    except OSError:
        return
    try:
        is_ours = (
            is_private(os.fstat(descriptor), forbidden=OTHERS)
            and os.read(descriptor, 999) == SIGNATURE
        )
        if is_ours and lock(descriptor, shared=False):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
