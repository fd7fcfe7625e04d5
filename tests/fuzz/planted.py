"""Faults on purpose, one of each kind, which a campaign must find."""

import os
import signal
import threading
import time
from pathlib import Path

from tests.fuzz.targets import Target, Use


def raise_error(path: Path) -> None:
    """Raise an error that is not ours."""
    raise KeyError(path)


def raise_in_thread(path: Path) -> None:
    """Raise an error that is not ours where nobody catches it."""
    thread = threading.Thread(target=raise_error, args=(path,))
    thread.start()
    thread.join()


def crash(path: Path) -> None:
    """End the process as a library in C does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(path: Path) -> None:
    """Do not end."""
    time.sleep(600)


def take_memory(path: Path) -> None:
    """Take more memory than a small file is worth, and hide the error."""
    try:
        bytearray(10**10)
    except MemoryError as error:
        from segdeploy.errors import DataError

        raise DataError from error


def write_outside(path: Path) -> None:
    """Write a file beside the folder of the case."""
    Path("../outside").write_text("x")


def start_program(path: Path) -> None:
    """Start another program."""
    os.system("true")


def leave_file(path: Path) -> None:
    """Leave a temporary file."""
    (Path(os.environ["TMPDIR"]) / "left").write_text("x")


def write_half(path: Path) -> None:
    """Write half a file under its final name."""
    Path("out").mkdir()
    Path("out/report.json").write_text('{"rows": [')


def print_control(path: Path) -> None:
    """Print what turns a terminal red."""
    print("\x1b[31m")


PLANTED = {
    f"planted: {verdict} {number}": Target(use=use, seeds=("texts/palette.toml",), share=0)
    for verdict, uses in {
        "traceback": (raise_error, raise_in_thread),
        "signal": (crash,),
        "hang": (hang,),
        "memory": (take_memory,),
        "outside": (write_outside, start_program, leave_file),
        "broken": (write_half,),
        "terminal": (print_control,),
    }.items()
    for number, use in enumerate[Use](uses)
}
"""Targets by name, which begins with the verdict that they must get."""
