"""Report: all rows and the machine, JSON in and out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from segdeploy.errors import DataError
from segdeploy.system.machine import Machine
from segdeploy.system.schema import convert, shown

from .row import ExternalResult, RowResult
from .variant import Variant

SCHEMA = 3

MAX_BYTES = 64 * 2**20
"""Bytes of a report: every run of many rows, ten times over."""

LARGEST = 2**63
"""Largest number in a report, of bytes or of anything else."""

FIRST_YEAR, LAST_YEAR = 2000, 2999
"""Years that charts of any library can draw."""

BUSY = 1.5
"""Load per core above which other processes surely compete; what ran just before the benchmark
leaves a load of up to 1."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant of an artifact and what was measured of it.

    Attributes:
        name: Name that no other row has.
        variant: What was run, and how.
        size: Size of the file, with all that belongs to it, in bytes; None for a peer with a
            network of its own, which has no file.
        result: What was measured; None if it failed.
        error: Why it failed; "" if it did not.
    """

    name: str
    variant: Variant
    size: int | None
    result: RowResult | None
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON values."""
        values: dict[str, Any] = msgspec.to_builtins(replace(self, result=None))
        return {**values, "result": self.result and self.result.to_dict()}


@dataclass(frozen=True, kw_only=True)
class Report:
    """All rows of one benchmark, and the machine that they were measured on.

    Attributes:
        created: When it was finished, as ISO 8601 in UTC.
        dataset: Name of the dataset.
        split: Its split.
        images: Names of the images that were segmented, evenly spaced over the split; none is
            chosen at random.
        classes: Names of the classes, in channel order.
        reference: Name of the row that the others are compared with; None where there is neither a
            checkpoint nor a peer.
        runs: Timed runs a round.
        rounds: Least number of rounds of a row, each in a process of its own, rows taking turns.
        warm_up: Runs before the timed ones of each round.
        machine: The machine, before the first round.
        load_after: Its load after the last round; None where the system does not report it.
        video: Path of the video; None without one.
        rows: The rows, in the order in which the artifacts were named.
        external: What other commands measured.
        notes: Remarks from before the measurement, one sentence each.
        schema: Version of the JSON form.
    """

    created: str
    dataset: str
    split: str
    images: tuple[str, ...]
    classes: tuple[str, ...] = ()
    reference: str | None
    runs: int
    rounds: int
    warm_up: int
    machine: Machine
    load_after: float | None
    video: str | None
    rows: tuple[Row, ...]
    external: tuple[ExternalResult, ...] = ()
    notes: tuple[str, ...] = ()
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Check what pages and charts rely on; a ValueError says what is wrong."""
        if not FIRST_YEAR <= self.time.year <= LAST_YEAR:
            msg = f"created is {self.created!r}, which is no time of a measurement"
            raise ValueError(msg)
        for row, result in self.measured:
            for values in result.accuracy.by_class if result.accuracy else ():
                if len(values) != len(self.classes):
                    msg = (
                        f"the row {row.name!r} has {len(values)} values by class and there are"
                        f" {len(self.classes)} classes"
                    )
                    raise ValueError(msg)

    @property
    def time(self) -> datetime:
        """When it was finished."""
        return datetime.fromisoformat(self.created)

    @property
    def measured(self) -> tuple[tuple[Row, RowResult], ...]:
        """The rows that did not fail, with their results."""
        return tuple((row, row.result) for row in self.rows if row.result is not None)

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if row.result is None)

    @property
    def reference_result(self) -> RowResult | None:
        """Result of the reference; None where there is none or it failed."""
        return next((result for row, result in self.measured if row.name == self.reference), None)

    @property
    def timing_warnings(self) -> tuple[str, ...]:
        """Reasons why the times are not reliable, one sentence each."""
        machine = self.machine
        warnings = []
        if machine.load is not None and machine.load > BUSY * machine.host_cores:
            warnings.append(
                f"The machine was busy before the first round (load {machine.load} on"
                f" {machine.host_cores} cores): the times are not reliable."
            )
        warnings += [
            f"The times of {row.name} are noisy: {noise}."
            for row, result in self.measured
            if (noise := result.latency.noise)
        ]
        return tuple(warnings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings, one sentence each: timing warnings, other input sizes, notes."""
        return (*self.timing_warnings, *self._size_warnings(), *self.notes)

    def _size_warnings(self) -> Iterator[str]:
        reference = self.reference_result
        if reference is None:
            return
        for row, result in self.measured:
            if result.setting.input != reference.setting.input:
                sizes = "{}x{} and {} at {}x{}".format(
                    *result.setting.input, self.reference, *reference.setting.input
                )
                yield f"{row.name} runs at {sizes}: the speedup is that of the input size, too."

    def speedup(self, result: RowResult) -> tuple[float, float] | None:
        """Return a lower and an upper bound of the speedup over the reference, image by image.

        Both are the ratio of the medians unless one of the two was measured with noise. Then the
        quartiles are compared, the slow runs of one with the fast runs of the other and vice versa,
        because a single number would suggest a precision that it does not have. None without a
        reference.
        """
        reference = self.reference_result
        if reference is None:
            return None
        noisy = result != reference and (reference.latency.noise or result.latency.noise)
        fast, slow = (25, 75) if noisy else (50, 50)
        return (
            reference.image_time(fast) / result.image_time(slow),
            reference.image_time(slow) / result.image_time(fast),
        )

    def miou_difference(self, result: RowResult) -> float | None:
        """Return the mIoU of a row minus the reference's, in [-1, 1]; None where one is unknown."""
        reference = self.reference_result
        if reference is None or reference.accuracy is None or result.accuracy is None:
            return None
        return result.accuracy.scores.miou - reference.accuracy.scores.miou

    def to_json(self) -> str:
        """Return the report as JSON text; docs/report.schema.json describes it."""
        values = {
            **msgspec.to_builtins(replace(self, rows=())),
            "rows": [row.to_dict() for row in self.rows],
            "warnings": self.warnings,
        }
        return json.dumps(values, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str) -> Self:
        """Read a report of this schema or the one before.

        Args:
            text: What `to_json` returned.
            source: Name of the file, for the message.

        Raises:
            DataError: It is not a report, or one of another schema.
        """

        def refuse(problem: str) -> DataError:
            return DataError(
                f"{source} is not a report ({problem}); was it written by 'segdeploy benchmark'?"
            )

        try:
            values = _parse(text)
        except ValueError as error:
            raise refuse(str(error)) from error
        schema = convert(values, _Version, refuse=refuse).schema
        if schema not in {SCHEMA - 1, SCHEMA}:
            fix = "upgrade segdeploy" if schema > SCHEMA else "measure it again with this version"
            msg = (
                f"{source} is a report of schema {schema} and this version reads schema {SCHEMA};"
                f" {fix}"
            )
            raise DataError(msg)
        return convert(values if schema == SCHEMA else _upgraded(values), cls, refuse=refuse)


def _parse(text: str) -> Any:  # noqa: ANN401 - foreign JSON
    """Return the values of JSON text; a ValueError says why nothing can be computed with them."""
    try:
        values = json.loads(text)
    except RecursionError:
        msg = "its lists or objects are nested too deeply"
        raise ValueError(msg) from None
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, int | float) and abs(value) > LARGEST:
            msg = f"it holds the number {shown(value)}"
            raise ValueError(msg)
    return values


@dataclass(frozen=True, kw_only=True)
class _Version:
    """The part of a report that every version has."""

    schema: int


RENAMED = {"pictures": "images", "asides": "external", "ways": "variants"}
RENAMED_IN_ROWS = {"way": "variant", "figures": "result"}
"""Keys of schema 2, and their names since schema 3."""


def _upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a report of schema 2 under the names of schema 3."""
    new = {**_renamed(values, RENAMED), "schema": SCHEMA}
    if isinstance(new.get("external"), list):
        new["external"] = [_renamed(entry, RENAMED) for entry in new["external"]]
    if isinstance(new.get("rows"), list):
        new["rows"] = [_renamed(row, RENAMED_IN_ROWS) for row in new["rows"]]
    return new


def _renamed(values: Any, names: dict[str, str]) -> Any:  # noqa: ANN401 - foreign JSON
    if not isinstance(values, dict):
        return values
    return {names.get(key, key): value for key, value in values.items()}


def read_report(path: Path) -> Report:
    """Read a report's JSON file.

    Raises:
        DataError: The file is missing, or is not a report of this schema or the one before.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        msg = (
            f"{path} cannot be read ({error}); name a report.json that 'segdeploy benchmark' wrote"
        )
        raise DataError(msg) from error
    if len(content) > MAX_BYTES:
        msg = f"{path} has more than {MAX_BYTES} bytes; name a report.json"
        raise DataError(msg)
    return Report.from_json(text, source=str(path))
