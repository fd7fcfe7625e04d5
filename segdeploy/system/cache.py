"""Cache folders of libraries, all in one folder of segdeploy below the user's cache."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from segdeploy.system.posix import is_private


def cache_folders() -> dict[str, str]:
    """Return the cache folders of libraries, by the environment variables that set them.

    By default, PyTorch would keep compiled code in the folder for temporary files, under a name
    that another user can create first.

    Returns:
        Empty where these folders cannot be created.
    """
    folders = {"MPLCONFIGDIR": "matplotlib", "TORCHINDUCTOR_CACHE_DIR": "torch"}
    paths = {variable: cache_folder(name) for variable, name in folders.items()}
    return {variable: str(path) for variable, path in paths.items() if path is not None}


def cache_folder(name: str) -> Path | None:
    """Return a folder of segdeploy below the user's cache; None where it cannot be created.

    Args:
        name: Name of the folder, which need not exist.
    """
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()
    except RuntimeError:
        return None
    # `Path.exists` raises where a folder above may not be entered.
    nearest = next(folder for folder in (base, *base.parents) if os.path.lexists(folder))
    is_usable = nearest.is_dir() and os.access(nearest, os.W_OK)
    return base / "segdeploy" / name if is_usable else None


def private_cache_folder(name: str) -> Path | None:
    """Return a folder of segdeploy below the user's cache that nobody else can write to.

    It is created where it is missing.

    Returns:
        None where it cannot be created, or belongs to somebody else.
    """
    folder = cache_folder(name)
    if folder is None:
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    is_safe = is_private(status, forbidden=stat.S_IWGRP | stat.S_IWOTH)
    return folder if is_safe and stat.S_ISDIR(status.st_mode) else None


def remove_oldest(folder: Path, most: int) -> None:
    """Remove the oldest files of a folder until all together have at most `most` bytes.

    What cannot be read or removed is left.
    """
    with suppress(OSError):
        files = sorted(
            ((entry.stat(), entry) for entry in folder.iterdir() if entry.is_file()),
            key=lambda found: found[0].st_mtime_ns,
        )
        total = sum(status.st_size for status, _ in files)
        for status, file in files:
            if total <= most:
                return
            file.unlink()
            total -= status.st_size
