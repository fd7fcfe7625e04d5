"""Commands in processes of their own that start at once, and end at any moment.

The process that imported PyTorch, ONNX Runtime and FFmpeg is forked, so that a kill meets the work
of a command and not its imports. It may start no thread itself, so all work is done in children.
"""

import importlib
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

IMPORTED = (
    "av",
    "cv2",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "torch",
    "torch.export",
    "segdeploy.cli.run",
    "segdeploy.export.exporter",
    "segdeploy.models.networks.unet",
    "segdeploy.train.command",
    "segdeploy.train.trainer",
    "segdeploy.video.writer",
)


def import_libraries() -> None:
    """Import what the commands need, once."""
    os.environ.update(OMP_NUM_THREADS="1")
    for name in IMPORTED:
        importlib.import_module(name)


def command(arguments: Sequence[str], folder: Path, *, log: Path) -> int:
    """Start `segdeploy` in a folder, and return the number of its process and group."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        from segdeploy.cli.main import main

        try:
            main(arguments)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - a traceback is what the log is looked at for
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def kill_after(pid: int, seconds: float) -> int | None:
    """Kill a process and all that it started; return its exit code where it ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(max(0, min(0.001, end - time.monotonic())))
    os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGKILL else code


def in_child(function: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    """Call a function in a process of its own, and return its result.

    Raises:
        RuntimeError: It raised an error, or the process ended.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        try:
            answer = True, function(*arguments, **options)
        except BaseException:  # noqa: BLE001 - it is raised again by the parent
            answer = False, traceback.format_exc()
        with os.fdopen(writer, "wb") as file:
            pickle.dump(answer, file)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        content = file.read()
    os.waitpid(pid, 0)
    is_done, value = pickle.loads(content) if content else (False, "the process ended")
    if not is_done:
        raise RuntimeError(value)
    return value


def forbid_core_dumps() -> None:
    """Keep killed processes from filling the disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
