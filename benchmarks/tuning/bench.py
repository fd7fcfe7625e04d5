"""Measures configurations in processes of their own, and remembers what was measured."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segdeploy.errors import ConfigError, SegdeployError
from segdeploy.imaging.io import read_ids
from segdeploy.system.schema import convert

from ..measure.process import run_in_process
from ..measure.subcommands import Call, call
from ..plan import file_size
from .space import Configuration, Trial
from .trial import TrialTask

FRAMES = 24
"""Frames or images of a unit of work: a second or a few on a processor."""

MASKS = 30
"""Frames or images on which masks are compared."""

Process = Callable[[str, Mapping[str, Any]], Mapping[str, Any] | str]
"""What `run_in_process` does."""


class Journal:
    """What was measured so far, in a file, so that an interrupted search can be resumed."""

    def __init__(self, path: Path, request: Mapping[str, Any]) -> None:
        """Read the journal, or begin one.

        Args:
            path: The file, a JSON value a line.
            request: What is searched; that of the file must be the same.

        Raises:
            ConfigError: The file is of another search.
        """
        self._path = path
        self._values: dict[str, list[Any]] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        # The last line of a search that was killed may be cut off.
        entries = [json.loads(line) for line in lines if line.endswith("}")]
        if entries and entries[0] != {"request": dict(request)}:
            msg = f"{path.parent} holds another search; name another --output, or none"
            raise ConfigError(msg)
        for entry in entries[1:]:
            self._values.setdefault(entry["key"], []).append(entry["value"])
        if not entries:
            path.write_text(json.dumps({"request": dict(request)}) + "\n", encoding="utf-8")

    def once(self, key: str, measure: Callable[[], Any]) -> Any:  # noqa: ANN401 - a JSON value
        """Return the next value of a key that an earlier run measured, else measure and keep it."""
        if self._values.get(key):
            return self._values[key].pop(0)
        value = measure()
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "value": value}) + "\n")
        return value


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How the loss of a file is measured.

    Attributes:
        reference: The file whose masks are the reference, or whose mIoU.
        dataset: Options of `segdeploy eval` that name the labeled images; None where masks are
            compared with those of the reference.
    """

    reference: Path
    dataset: Sequence[str] | None


@dataclass(kw_only=True)
class MachineBench:
    """The bench of this machine; see `solver.Bench`.

    Attributes:
        paths: Path of each file by its name.
        accuracy: How losses are measured.
        video: The film; None for images.
        images: Images and folders.
        device: Device of the runtime.
        trust: Whether files are loaded as they are.
        folder: Folder for masks.
        journal: Remembers what was measured.
        seconds: How long the search may take.
        clock: Returns seconds.
        process: Runs a function in a process.
        run: Runs a module.
    """

    paths: Mapping[str, Path]
    accuracy: Accuracy
    video: Path | None
    images: Sequence[Path]
    device: str
    trust: bool
    folder: Path
    journal: Journal
    seconds: float
    clock: Callable[[], float] = time.monotonic
    process: Process = run_in_process
    run: Call = call
    start: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        self.start = self.clock()

    def left(self) -> float:
        """Return the share of the time that is left, in [0, 1]."""
        return max(0.0, 1 - (self.clock() - self.start) / self.seconds)

    def size(self, file: str) -> int:
        """Return the bytes of a file."""
        return file_size(self.paths[file])

    def measure(self, configuration: Configuration, units: int) -> Trial:
        """Measure a configuration on so many units of work.

        Raises:
            SegdeployError: It cannot be run.
        """
        task = self._task(self.paths[configuration.file], configuration, frames=units * FRAMES)
        values = self.journal.once(f"{configuration.name}, {units}", lambda: self._ask(task))
        return convert(values, Trial, refuse=SegdeployError)

    def loss(self, configuration: Configuration) -> float:
        """Return the points of mIoU, or of agreement with the reference, that are lost.

        Raises:
            SegdeployError: The file cannot be run.
        """
        path = self.paths[configuration.file]
        if self.accuracy.dataset is not None:
            return 100 * (self._miou(self.accuracy.reference) - self._miou(path))
        key = f"agreement of {configuration.file}, every {configuration.every}"
        return 100 - float(self.journal.once(key, lambda: self._agreement(path, configuration)))

    def _ask(self, task: TrialTask) -> Mapping[str, Any]:
        response = self.process("tuning.trial:respond", asdict(task))
        if isinstance(response, str):
            raise SegdeployError(response)
        return response

    def _task(
        self, path: Path, configuration: Configuration, *, frames: int, masks: str = ""
    ) -> TrialTask:
        return TrialTask(
            artifact=str(path),
            throughput=configuration.throughput,
            threads=configuration.threads,
            batch=configuration.batch,
            every=configuration.every,
            preset=configuration.preset,
            device=self.device,
            trust=self.trust,
            video="" if self.video is None else str(self.video),
            images=tuple(map(str, self.images)),
            frames=frames,
            masks=masks,
        )

    def _miou(self, path: Path) -> float:
        """Return the mIoU of a file on the labeled images, in [0, 1]."""
        arguments = ["segdeploy", "eval", str(path), "--json", *(self.accuracy.dataset or ())]
        key = f"mIoU of {path.name}"
        return float(
            self.journal.once(key, lambda: json.loads(self.run(arguments))["scores"]["miou"])
        )

    def _agreement(self, path: Path, configuration: Configuration) -> float:
        """Return the percentage of pixels with the label of the reference."""
        plain = Configuration(
            file="", throughput=configuration.throughput, threads=configuration.threads
        )
        reference = self._write_masks("reference", self.accuracy.reference, plain)
        own = self._write_masks("own", path, configuration)
        equal = [
            np.mean(read_ids(first) == read_ids(second))
            for first, second in zip(reference, own, strict=True)
        ]
        return 100 * float(np.mean(equal))

    def _write_masks(self, name: str, path: Path, configuration: Configuration) -> list[Path]:
        folder = self.folder / name
        if name == "reference" and folder.exists():
            return sorted(folder.iterdir())
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        self._ask(self._task(path, configuration, frames=MASKS, masks=str(folder)))
        return sorted(folder.iterdir())
