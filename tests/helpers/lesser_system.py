"""The command on a system like Windows: `python -m tests.helpers.lesser_system COMMAND...`.

What only POSIX has is taken away, processes start by `spawn` alone, an open file can be neither
renamed, replaced nor removed, and the output speaks cp1252.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODULES = ("fcntl", "resource", "pwd", "grp", "termios")

NAMES = {
    os: (
        "O_NOFOLLOW",
        "fork",
        "getloadavg",
        "getuid",
        "killpg",
        "nice",
        "sched_getaffinity",
        "setsid",
        "statvfs",
        "sysconf",
    ),
    signal: ("SIGALRM", "SIGHUP", "SIGKILL", "alarm", "pthread_kill", "pthread_sigmask"),
}
"""What Windows lacks, and the package might be tempted by."""

LINUX = ("/proc", "/sys")
"""Folders that other systems lack."""


def take_away() -> None:
    """Take from this process what POSIX and Linux have beyond Windows."""
    # Libraries chose their way when they were imported on this system.
    import cv2  # noqa: F401 - reads /proc

    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in NAMES.items():
        for name in names:
            vars(module).pop(name, None)
    multiprocessing.get_all_start_methods = lambda: ["spawn"]
    for name in ("rename", "replace", "unlink", "remove"):
        setattr(os, name, _refused_while_open(getattr(os, name)))
    sys.addaudithook(_without_linux)


def _refused_while_open(change: Callable[..., None]) -> Callable[..., None]:
    """Return a function of `os` that fails on a file that this process has open."""

    def changed(*paths: Any, **folders: Any) -> None:
        for path in paths:
            if folders.get("dir_fd") is None and _is_open(path):
                raise PermissionError(13, "the file is in use by another process", str(path))
        change(*paths, **folders)

    return changed


def _is_open(path: str | Path) -> bool:
    name = os.path.abspath(path)  # noqa: PTH100 - links stay
    for descriptor in os.listdir("/dev/fd"):  # noqa: PTH208 - Path would open it again
        try:
            if os.readlink(f"/dev/fd/{descriptor}") == name:  # noqa: PTH115
                return True
        except OSError:
            continue
    return False


def _without_linux(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(LINUX):
        raise FileNotFoundError(2, "no such file", arguments[0])


if __name__ == "__main__":
    take_away()
    from segdeploy.cli.main import main

    sys.argv[0] = "segdeploy"
    sys.exit(main())
