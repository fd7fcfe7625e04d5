"""Fresh processes: run a function in one, run a command in one, measure a command's resources."""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdeploy.errors import SegdeployError
from segdeploy.system.concurrency import PYTHON
from segdeploy.system.files import temporary_folder
from segdeploy.system.machine import BLAS_THREADS
from segdeploy.system.plugins import LOADED, load_plugin

Request = Mapping[str, Any]
"""Arguments of a function that runs in another process, as JSON values."""

Response = Mapping[str, Any]
"""What it returned, as JSON values."""


def run_in_process(function: str, request: Request) -> Response | str:
    """Run a function in a fresh process, and return its result, or why it failed.

    The process starts as a user's would: without the current folder on its path, with the thread
    pools limited, and with the same plugins.

    Args:
        function: "MODULE:FUNCTION" below segdeploy.benchmarks; it takes a request and returns a
            response.
        request: What the function is called with.
    """
    with temporary_folder() as folder:
        request_file, response_file = folder / "request.json", folder / "response.json"
        request_file.write_text(json.dumps(request), encoding="utf-8")
        arguments = [function, str(request_file), str(response_file), *LOADED]
        done = _run_python(["-m", "segdeploy.benchmarks.measure.process", *arguments])
        if done.returncode:
            return exit_reason(done.returncode, done.stderr)
        response: Response = json.loads(response_file.read_text(encoding="utf-8"))
    return str(response["error"]) if "error" in response else response


def exit_reason(code: int, errors: str) -> str:
    """Return why a process ended without a response, as a sentence.

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


def respond(
    function: Callable[[Request], Response], request_file: Path, response_file: Path
) -> None:
    """Call a function with the request of one file, and write its response to another.

    A SegdeployError of the function is a response, {"error": its message}; any other error ends
    the process with a traceback.
    """
    try:
        response = function(json.loads(request_file.read_text(encoding="utf-8")))
    except SegdeployError as error:
        response = {"error": str(error)}
    response_file.write_text(json.dumps(response), encoding="utf-8")


def run_command(arguments: Sequence[str], *, timeout: float | None = None) -> str:
    """Run this Python in a fresh process, and return what it printed to stdout.

    Args:
        arguments: What follows the interpreter's name, for example ["-m", "segdeploy", "models"].
        timeout: Seconds after which the process is ended; None for never.

    Raises:
        SegdeployError: It failed, and the message is the last line of its stderr; or it took longer
            than the timeout.
    """
    try:
        done = _run_python(arguments, timeout)
    except subprocess.TimeoutExpired as error:
        msg = f"it took longer than {error.timeout:.0f} s"
        raise SegdeployError(msg) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise SegdeployError(
            lines[-1].removeprefix("segdeploy: ")
            if lines
            else f"{' '.join(arguments[:3])} ended with {done.returncode}"
        )
    return done.stdout


def _run_python(
    arguments: Sequence[str], timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this Python, and arguments of ours
        [*PYTHON, *arguments],
        env={**BLAS_THREADS, **os.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


# The process reports its own peak: what the system reports of an ended child may be its parent's.
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
    """Resources that a command used.

    Attributes:
        seconds: From the start of its process to its end (wall time).
        memory: Peak memory in bytes; 0 where the system does not report it.
    """

    seconds: float
    memory: int


def measure_command(arguments: Sequence[str]) -> Usage:
    """Run a segdeploy command in a fresh process, and return the resources that it used.

    Args:
        arguments: For example ["export", "best.pt"].

    Raises:
        SegdeployError: It failed; the message is its own.
    """
    start = time.perf_counter()
    printed = run_command(["-c", MEASURED, *arguments])
    return Usage(seconds=time.perf_counter() - start, memory=int(printed.splitlines()[-1]))


def main(arguments: Sequence[str]) -> None:
    """Run a function for `run_in_process`; arguments: the function, two files, and plugins."""
    function, request_file, response_file, *plugins = arguments

    def load_and_call(request: Request) -> Response:
        for plugin in plugins:
            load_plugin(plugin)
        module, _, name = function.partition(":")
        imported = importlib.import_module(f"segdeploy.benchmarks.{module}")
        response: Response = getattr(imported, name)(request)
        return response

    respond(load_and_call, Path(request_file), Path(response_file))


if __name__ == "__main__":
    main(sys.argv[1:])
