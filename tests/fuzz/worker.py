"""A process that reads mutated files one after the other and watches itself meanwhile.

Started by `campaign.py`; it reads lines "TARGET<tab>NUMBER" and writes a verdict for each.
"""

import contextlib
import faulthandler
import json
import os
import random
import re
import resource
import shutil
import sys
import threading
import traceback
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import click

from segdeploy.errors import SegdeployError
from segdeploy.system.cache import cache_folders
from segdeploy.system.files import PART
from tests.fuzz.mutation import mutate
from tests.fuzz.planted import PLANTED
from tests.fuzz.targets import TARGETS, Target
from tests.helpers.offline import forbid_network
from tests.helpers.whole_files import find_fault

MEMORY = 2_000_000_000
"""Bytes that reading a file of less than `SMALL` may take at most."""

SMALL = 1_000_000
HARD_LIMIT = 5_000_000_000
"""Bytes of addresses beyond those of before; more would harm the machine."""

OWN = ("case", "crash", "printed")
"""Files and folders beside the seeds that the process itself makes."""

ALL = {**TARGETS, **PLANTED}

OWN_FAULT = 99
"""Exit code after an error of these tests themselves."""

LARGEST_FILE = 1_000_000_000

LARGEST_INPUT = 100_000_000
"""Bytes of a mutated file; a structure whose sizes were changed may be written as gigabytes."""

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Characters that would change a terminal."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
LOOK_UPS = ("/sbin/ldconfig", "fc-list", "git")
"""Programs that list the libraries and fonts of the machine, started by ctypes and matplotlib, and
the one that names the commit of a training."""

STARTED = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"}
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.truncate"}


class Watch:
    """Records what a case does outside its folder: files that it changes, programs that it starts.

    Attributes:
        found: What was recorded.
        is_on: Whether it records.
    """

    def __init__(self, root: Path) -> None:
        self.found: list[str] = []
        self.is_on = False
        self._allowed = tuple(
            f"{path}/" for path in (root / "case", root / "tmp", root / "home/.cache/segdeploy")
        )
        self._allowed += ("/dev/",)
        self._cache = f"{root}/home/.cache/"
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, str | bytes) and (flags & WRITING or set(mode or "") & set("wax+")):
                self._check_path("opened", path)
        elif event in CHANGES:
            for path in arguments[:2]:
                if isinstance(path, str | bytes) and path:
                    self._check_path(event, path)
        elif event in STARTED or (
            event == "subprocess.Popen"
            and os.fsdecode(arguments[0]) not in (sys.executable, *LOOK_UPS)
        ):
            self.found.append(f"started {arguments[0]!r}")

    def _check_path(self, event: str, path: str | bytes) -> None:
        folder, name = os.path.split(os.fsdecode(path))
        real = f"{os.path.realpath(folder)}/{name}/"
        if not real.startswith(self._allowed) and real != self._cache:
            self.found.append(f"{event} {real}")


class Worker:
    """Reads mutated files.

    Attributes:
        root: Folder of the campaign: seeds, and the home, temporary and case folders.
    """

    def __init__(self, root: Path, seed: str) -> None:
        self.root = root
        self._seed = seed
        self._case = root / "case"
        self._threads: list[str] = []
        self._before = set(_files(root / "home"))
        self._known = {*OWN, *(entry.name for entry in root.iterdir())}
        self._watch = Watch(root)
        threading.excepthook = lambda error: self._threads.append(
            "".join(traceback.format_exception(error.exc_value)) if error.exc_value else "thread"
        )

    def run(self, name: str, number: int) -> dict[str, str]:
        """Read one mutated file, and return the verdict with its reason.

        Args:
            name: Name of the target.
            number: Number of the case; -1, -2 ... for the first, second ... seed as it is.
        """
        target = ALL[name]
        path = self._prepare(name, number)
        os.chdir(self._case)
        size = path.stat().st_size
        self._watch.found.clear()
        self._threads.clear()
        older = {path: path.read_bytes() for path in self._results()}
        # What a resumed run keeps of a film holds the mutated bits, which a decoder may refuse.
        kept = {path.name.removesuffix(PART) for path in older}
        before = _reset_peak()
        with _limited_memory(), _captured(self.root / "printed") as printed:
            self._watch.is_on = True
            verdict, reason = _call(target, path)
            self._watch.is_on = False
        text = printed.read_text(encoding="utf-8", errors="backslashreplace")
        used = _peak() - before
        if self._threads:
            verdict, reason = "traceback", self._threads[0]
        elif used > MEMORY and size < SMALL:
            verdict, reason = "memory", f"{used / 1e9:.1f} GB from {size / 1e3:.0f} kB"
        elif strange := self._watch.found + self._left():
            verdict, reason = "outside", "; ".join(strange[:3])
        elif fault := self._broken(older, leave_out=kept):
            verdict, reason = "broken", fault
        elif verdict in {"done", "refused"} and (found := CONTROL.search(text)):
            line = text[max(0, found.start() - 60) : found.end() + 60]
            verdict, reason = "terminal", repr(line)
        os.chdir(self.root)
        return {"verdict": verdict, "reason": reason}

    def _prepare(self, name: str, number: int) -> Path:
        """Write the mutated file, with what belongs to it, and return its path in the case."""
        shutil.rmtree(self._case, ignore_errors=True)
        target, seeds = ALL[name], self.root / "seeds"
        chance = random.Random(f"{self._seed}/{name}/{number}")
        choice = target.find(seeds)
        seed = choice[-1 - number] if number < 0 else chance.choice(choice)
        if target.whole:
            shutil.copytree(seeds / target.whole, self._case)
            path = self._case / seed.relative_to(seeds / target.whole)
        else:
            path = self._case / "input" / seed.name
            path.parent.mkdir(parents=True)
        content = seed.read_bytes()
        mutated = mutate(content, seed, chance, others=choice) if number >= 0 else content
        path.write_bytes(mutated[:LARGEST_INPUT])
        if path.suffix == ".bin":
            path = path.with_suffix(".xml")
        return path.relative_to(self._case)

    def _left(self) -> list[str]:
        """Return what is new beside the folder of the case, and in the home and temporary ones."""
        new = set(_files(self.root / "home")) - self._before
        self._before |= new
        strange = [name for name in new if "/.cache/segdeploy/" not in name]
        others = [path for path in self.root.iterdir() if path.name not in self._known]
        for path in (*others, *(self.root / "tmp").iterdir()):
            strange.append(f"left {path}")
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return strange

    def _results(self) -> list[Path]:
        return sorted(path for path in (self._case / "out").rglob("*") if path.is_file())

    def _broken(self, older: Mapping[Path, bytes], *, leave_out: Collection[str]) -> str:
        """Return what is wrong with the first file of the results that is new and not whole."""
        for path in self._results():
            is_new = path.read_bytes() != older.get(path) and path.name not in leave_out
            if is_new and (fault := find_fault(path)):
                return f"{path.relative_to(self._case)}: {fault}"
        return ""


def _call(target: Target, path: Path) -> tuple[str, str]:
    try:
        target.use(path)
    except (SegdeployError, click.ClickException) as error:
        return ("memory", _chain(error)) if _is_memory(error) else ("refused", "")
    except BaseException as error:  # noqa: BLE001 - that is what is counted
        return ("memory" if _is_memory(error) else "traceback"), _chain(error)
    return "done", ""


def _chain(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _is_memory(error: BaseException | None) -> bool:
    """Return whether an error, or the one that it came from, is a lack of memory.

    Only the limit of this process refused what would have taken it.
    """
    while error is not None:
        text = str(error).lower()
        # FFmpeg refuses any array of more than 2 GB by itself, without taking it.
        is_ours = isinstance(error, MemoryError) and not isinstance(error, av.FFmpegError)
        if is_ours or "bad_alloc" in text or "insufficient memory" in text:
            return True
        error = error.__cause__ or error.__context__
    return False


def _reset_peak() -> int:
    """Forget the largest size of this process so far; return the present one in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(key: str) -> int:
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"{key}:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) * 1024


@contextlib.contextmanager
def _limited_memory() -> Iterator[None]:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + HARD_LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


@contextlib.contextmanager
def _captured(path: Path) -> Iterator[Path]:
    """Write what is printed, also by libraries in C, into a file."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with path.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    yield path
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _files(folder: Path) -> Iterator[str]:
    for top, _, names in os.walk(folder):
        for name in names:
            yield f"{top}/{name}"


def main() -> None:
    """Answer each line of the pipe with a verdict."""
    root, seed = Path(sys.argv[1]), sys.argv[2]
    # What reads standard input or prints must not disturb the pipe.
    questions, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    errors = os.fdopen(os.dup(2), "w")
    os.environ.update(cache_folders())
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.enable((root / "crash").open("w"))
    forbid_network()
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    worker = Worker(root, seed)
    print("ready", file=answers, flush=True)
    for line in questions:
        name, number = line.rstrip("\n").split("\t")
        try:
            verdict = worker.run(name, int(number))
        except Exception:  # noqa: BLE001 - a fault of these tests, which must not be counted
            errors.write(f"{line}{traceback.format_exc()}")
            errors.flush()
            os._exit(OWN_FAULT)
        print(json.dumps(verdict), file=answers, flush=True)


if __name__ == "__main__":
    main()
