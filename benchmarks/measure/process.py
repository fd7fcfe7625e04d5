"""Run a function in a fresh process; time and peak memory of a command."""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from segdeploy.errors import SegdeployError
from segdeploy.system.machine import POOLS
from segdeploy.system.plugins import LOADED, load_plugin


def printed(words: Sequence[str]) -> str:
    """Run this Python as a user would, and give what it printed.

    Of its stderr the last line is seen at most.

    Args:
        words: What follows the name of the interpreter, for example ["-m", "segdeploy", "models"].

    Raises:
        SegdeployError: It failed; the message is its own.
    """
    done = subprocess.run(  # noqa: S603 - this Python, and words of ours
        [sys.executable, "-P", *words],
        env={**POOLS, **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise SegdeployError(
            lines[-1].removeprefix("segdeploy: ")
            if lines
            else f"{' '.join(words[:3])} ended with {done.returncode}"
        )
    return done.stdout


def apart(work: str, order: Mapping[str, Any]) -> Mapping[str, Any] | str:
    """Let a function of this workshop do an order in a fresh process, and give its result, or why it failed.

    The process starts as a user's would: without the current folder on its path, with the pools of
    threads set, and with the same plugins.

    Args:
        work: "MODULE:FUNCTION" below segdeploy.benchmarks, which turns an order into a result.
        order: Values that JSON knows.
    """
    with TemporaryDirectory(prefix="segdeploy-") as folder:
        given, result = Path(folder, "order.json"), Path(folder, "result.json")
        given.write_text(json.dumps(order))
        done = subprocess.run(  # noqa: S603 - this Python, and files of ours
            [
                sys.executable,
                "-P",
                "-m",
                "segdeploy.benchmarks.measure.process",
                work,
                str(given),
                str(result),
                *LOADED,
            ],
            env={**POOLS, **os.environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            return death(done.returncode, done.stderr)
        found: Mapping[str, Any] = json.loads(result.read_text())
    return str(found["error"]) if "error" in found else found


def death(code: int, errors: str) -> str:
    """Say in a sentence why a process ended without a result.

    Args:
        code: Its exit code; negative for the signal that ended it.
        errors: What it wrote to stderr; the last line of a traceback names the error.
    """
    if code == -9:
        return "its process was killed; the machine may have run out of memory"
    if code < 0:
        return f"its process was ended by signal {-code}"
    lines = errors.strip().splitlines()
    return f"its process failed: {lines[-1] if lines else f'exit code {code}'}"


def serve(work: Callable[[Mapping[str, Any]], Mapping[str, Any]], arguments: Sequence[str]) -> None:
    """Do the order of one file, and write the result, or what stands against it, to another.

    Args:
        work: Turns an order into a result; its SegdeployError becomes the reason.
        arguments: Paths of the two files, and names of plugins.
    """
    given, result = (Path(argument) for argument in arguments[:2])
    try:
        for plugin in arguments[2:]:
            load_plugin(plugin)
        found = work(json.loads(given.read_text()))
    except SegdeployError as error:
        found = {"error": str(error)}
    result.write_text(json.dumps(found))


# The process itself tells: what the system tells of an ended child may be its parent's.
MEASURED = """
import sys
from segdeploy.cli.main import main
from segdeploy.system.machine import peak_memory

try:
    main(sys.argv[1:])
except SystemExit as error:
    if error.code:
        raise
print(peak_memory() or 0)
"""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a command spent.

    Attributes:
        seconds: From starting its process to its end.
        memory: The most that it held at once, in bytes; 0 where the system does not tell.
    """

    seconds: float
    memory: int


def spend(arguments: Sequence[str]) -> Usage:
    """Run a command, for example ["export", "best.pt"].

    Raises:
        SegdeployError: It failed; the message is its own.
    """
    start = time.perf_counter()
    told = printed(["-c", MEASURED, *arguments])
    return Usage(seconds=time.perf_counter() - start, memory=int(told.splitlines()[-1]))


if __name__ == "__main__":
    module, _, function = sys.argv[1].partition(":")
    serve(
        getattr(importlib.import_module(f"segdeploy.benchmarks.{module}"), function), sys.argv[2:]
    )
