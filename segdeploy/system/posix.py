"""What only some systems have, each beside what the others do instead.

Nothing else in the package calls what Windows or macOS lack.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen

NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
"""Flag of `os.open` that refuses symbolic links; Windows has none to refuse."""

BINARY = getattr(os, "O_BINARY", 0)
"""Flag of `os.open` on Windows, which changes the ends of lines without it."""

CAN_LOCK = find_spec("fcntl") is not None
"""Whether open files can be locked; on Windows abandoned scratch folders stay."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
"""Units of processor time in a second, in what Linux tells of a process."""


def lock(descriptor: int, *, shared: bool) -> None:
    """Lock an open file until it is closed, where there are such locks.

    Raises:
        BlockingIOError: Another process holds it.
        OSError: The file system has no locks.
    """
    if not CAN_LOCK:
        return
    import fcntl

    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def is_private(status: os.stat_result, *, forbidden: int) -> bool:
    """Return whether a file or folder is the user's, and has none of the `forbidden` mode bits.

    On Windows files tell neither; there, a user's folders are private.
    """
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & forbidden


def allowed_cores() -> int:
    """Return the cores that the system lets this process use; all where it binds none."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def installed_memory() -> int | None:
    """Return the bytes of memory of the machine; None where the system does not say it."""
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def load_average() -> float | None:
    """Return the mean number of busy processes over the last minute; None on Windows."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def free_shared_memory() -> int:
    """Return the bytes of shared memory that are free, a large number where no system says it."""
    try:
        status = os.statvfs(SHARED_MEMORY)
    except (AttributeError, OSError):
        return 2**63
    return status.f_bavail * status.f_frsize


@contextmanager
def limited_data(limit: int) -> Iterator[None]:
    """Let this process have no more bytes of data in a block, unless it may have fewer already.

    Windows has no such limit.
    """
    if find_spec("resource") is None:
        yield
        return
    import resource

    kind = resource.RLIMIT_DATA
    soft, hard = resource.getrlimit(kind)
    if any(other != resource.RLIM_INFINITY and other < limit for other in (soft, hard)):
        yield
        return
    resource.setrlimit(kind, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def end_after(seconds: int) -> None:
    """End this process after some seconds, whatever it waits for; at once on Windows."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)
    else:
        os._exit(1)


def on_hangup(handler: Callable[[], object]) -> None:
    """Call a function at SIGHUP; Windows has no such signal, and threads receive none."""
    with suppress(AttributeError, ValueError):
        signal.signal(signal.SIGHUP, lambda _number, _frame: handler())


def end_group(process: "Popen[bytes]", *, grace: float) -> None:
    """End a process that was started in a session of its own, and those that it started.

    Those that are still there after `grace` seconds are killed. On Windows only the process ends.
    """
    # Servers of studies alone are ended so.
    from subprocess import TimeoutExpired

    _signal_group(process, "SIGTERM")
    try:
        process.wait(grace)
    except TimeoutExpired:
        _signal_group(process, "SIGKILL")
        process.wait()


def _signal_group(process: "Popen[bytes]", name: str) -> None:
    if not hasattr(os, "killpg"):
        process.kill() if name == "SIGKILL" else process.terminate()
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, getattr(signal, name))
