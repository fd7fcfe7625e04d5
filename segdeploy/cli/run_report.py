"""What `segdeploy run` prints: files, speed and losses of each source."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdeploy.assets import short_name
from segdeploy.cli.console import echo, next_step, note
from segdeploy.errors import DataError
from segdeploy.video.motion import MotionCounts
from segdeploy.video.profiler import StageTimes
from segdeploy.video.smoothing import TemporalSmoother
from segdeploy.video.source_kinds import NamedSource
from segdeploy.video.sources import OpenedSource


@dataclass(frozen=True, kw_only=True)
class SourceResult:
    """What was written of one source.

    Attributes:
        paths: Files and folders.
        opened: The source, with what could not be read of it.
        times: Times of the stages; None for an image in tiles.
        smoother: Temporal smoother; None for none.
        motion: How many outputs were carried from frame to frame; None without `--every`.
        faster_preset: A faster preset than that of the videos written; None where there is none.
    """

    paths: Sequence[Path]
    opened: OpenedSource
    times: StageTimes | None = None
    smoother: TemporalSmoother | None = None
    motion: MotionCounts | None = None
    faster_preset: str | None = None

    @property
    def hint(self) -> str:
        """How the run would be faster, where its encoder holds it back; "" elsewhere."""
        if not self.faster_preset or not self.times or self.times.slowest != "encode":
            return ""
        return f"--preset {self.faster_preset} would encode faster, into larger files"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values of JSON, times in seconds."""
        values: dict[str, Any] = {
            "outputs": [str(path) for path in self.paths],
            "losses": self.opened.source.losses,
        }
        if self.smoother:
            values["flicker"] = self.smoother.to_dict()
        if self.motion:
            values["motion"] = self.motion.to_dict()
        return values | (self.times.to_dict() if self.times else {})


class RunReport:
    """Collects the results of a run; text is printed at once, JSON at the end."""

    def __init__(self, count: int, *, as_json: bool, err: bool) -> None:
        """Start a report.

        Args:
            count: Number of sources.
            as_json: Whether JSON is printed.
            err: Whether it goes to stderr, because stdout carries frames.
        """
        self._count = count
        self._as_json = as_json
        self._err = err
        self._values: list[dict[str, Any]] = []
        self._failures: list[DataError] = []

    def add(self, source: NamedSource, result: SourceResult) -> None:
        """Print what was written of a source, how long it took, and what could not be read."""
        read = result.opened.source
        for remark in (*read.notes, *read.losses):
            note(remark)
        if result.smoother:
            note(result.smoother.summary)
        if result.motion:
            note(result.motion.summary)
        self._values.append({"source": str(source), **result.to_dict()})
        if not self._as_json:
            print_result(result, err=self._err)
        if result.hint:
            note(result.hint)
        if result.opened.images and read.losses:
            self._failures.append(
                DataError(
                    f"{len(read.losses)} of {read.frames} images could not be read; the others are"
                    " done"
                )
            )

    def add_failure(self, source: NamedSource, error: DataError) -> None:
        """Note that a source could not be read; the others go on.

        Raises:
            DataError: There is no other.
        """
        if self._count == 1:
            raise error
        note(str(error))
        self._values.append({"source": str(source), "outputs": [], "losses": [str(error)]})
        self._failures.append(error)

    def finish(self, *, model: Path | None, device: str, is_bundled: bool) -> None:
        """Print the JSON report, and what may be done next.

        Args:
            model: The artifact; None where no source could be opened.
            device: What ran it.
            is_bundled: Whether no model was named.

        Raises:
            DataError: Something could not be read.
        """
        if self._as_json:
            echo(json.dumps(self._to_dict(model, device), indent=2), err=self._err)
        if model is not None:
            suggest(model, is_bundled=is_bundled)
        if self._failures and self._count == 1:
            raise self._failures[0]
        if model is None:
            msg = f"none of the {self._count} sources could be read; the reasons are above"
            raise DataError(msg)
        if self._failures:
            msg = (
                f"{len(self._failures)} of {self._count} sources could not be read, or not as a"
                " whole; all others are done"
            )
            raise DataError(msg)

    def _to_dict(self, model: Path | None, device: str) -> dict[str, Any]:
        values = {"model": None if model is None else str(model), "device": device}
        if self._count == 1:
            (only,) = self._values
            return values | {key: value for key, value in only.items() if key != "source"}
        every = {
            key: [text for value in self._values for text in value[key]]
            for key in ("outputs", "losses")
        }
        return {**values, **every, "sources": self._values}


def suggest(model: Path, *, is_bundled: bool) -> None:
    """Print a command that may follow a run."""
    if model.suffix == ".pt":
        next_step("segdeploy", "export", model, extra="export")
    else:
        dataset = ("--dataset", "streets") if is_bundled else ()
        next_step("segdeploy", "benchmark", short_name(model), *dataset, extra="report")


def print_result(result: SourceResult, *, err: bool) -> None:
    """Print the output paths, the speed, and a table of the stages' times."""
    lines = [*map(str, result.paths)]
    if times := result.times:
        frames = f"{times.frames} frame{'' if times.frames == 1 else 's'}"
        speed = f"{times.rate:.1f} fps (wall time)"
        lines += [
            f"{frames} in {times.wall:.1f} s: {speed}; {times.bottleneck}",
            f"{'stage':8} {'median ms':>10} {'p95 ms':>10} {'share of time':>14}",
        ]
        lines += [
            f"{name:8} {stage.p50 * 1000:10.2f} {stage.p95 * 1000:10.2f}"
            f" {stage.total / times.wall:14.0%}"
            for name, stage in times.stages.items()
        ]
    echo("\n".join(lines), err=err)
