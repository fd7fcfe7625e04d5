"""Report: all rows and the machine, JSON in and out."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from segdeploy.errors import DataError
from segdeploy.system.machine import Machine

from .row import ExternalResult, Figures
from .variant import Variant

SCHEMA = 2

BUSY = 1.5
"""Load a core from which others surely compete; what ran just before the benchmark leaves a load of
up to 1."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One artifact, run in one way.

    Attributes:
        name: Name that no other row has.
        way: What was run, and how.
        size: Size of the file, with all that belongs to it, in bytes; None of a peer with a network
            of its own, which has none.
        figures: What was measured; None where it failed.
        error: Why it failed; "" where it did not.
    """

    name: str
    way: Variant
    size: int | None
    figures: Figures | None
    error: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read one row of a report."""
        figures = values["figures"]
        found = None if figures is None else Figures.from_dict(figures)
        return cls(**{**values, "way": Variant.from_dict(values["way"]), "figures": found})


@dataclass(frozen=True, kw_only=True)
class Report:
    """All rows of one benchmark, and what they were measured on.

    Attributes:
        created: When it was finished, as ISO 8601 in UTC.
        dataset: Name of the dataset.
        split: Its split.
        images: Names of the images that were answered, at even distances over the split;
            nothing is drawn at random.
        classes: Names of the classes, in channel order.
        reference: Name of the row that the others are compared with; None where neither a
            checkpoint nor a loop of others was asked for.
        runs: Timed runs a round.
        rounds: Rounds of a row at the least, each in a process of its own, rows taking turns.
        warm_up: Runs before the timed ones of each round.
        machine: The machine, before the first round.
        load_after: Its load after the last round; None where nobody tells.
        video: Path of the video that was run over; None where none was named.
        rows: What was run, in the order in which the artifacts were named.
        asides: What other commands measured.
        notes: What was seen before it was measured and a reader of the figures must know, a
            sentence each.
        schema: Version of this form.
    """

    created: str
    dataset: str
    split: str
    images: tuple[str, ...]
    classes: tuple[str, ...]
    reference: str | None
    runs: int
    rounds: int
    warm_up: int
    machine: Machine
    load_after: float | None
    video: str | None
    rows: tuple[Row, ...]
    asides: tuple[ExternalResult, ...] = ()
    notes: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def measured(self) -> tuple[tuple[Row, Figures], ...]:
        """The rows that did not fail, with their figures."""
        return tuple((row, row.figures) for row in self.rows if row.figures is not None)

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if row.figures is None)

    @property
    def base(self) -> Figures | None:
        """Figures of the reference; None where there is none or it failed."""
        return next((figures for row, figures in self.measured if row.name == self.reference), None)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes the times doubtful, a sentence each."""
        machine = self.machine
        busy = machine.load is not None and machine.load > BUSY * machine.host_cores
        load = f"load {machine.load} on {machine.host_cores} cores"
        crowd = (
            [f"The machine was busy before the first round ({load}): the times are doubtful."]
            if busy
            else []
        )
        noises = [(row.name, figures.latency.noise) for row, figures in self.measured]
        return (
            *crowd,
            *(f"{name} was measured with noise: {noise}." for name, noise in noises if noise),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the figures must know, a sentence each.

        The doubts, and what else than the artifact differs.
        """
        return (*self.doubts, *self._other_sizes(), *self.notes)

    def _other_sizes(self) -> Iterator[str]:
        if self.base is None:
            return
        usual = self.base.setting.input
        for row, figures in self.measured:
            size = figures.setting.input
            if size != usual:
                sizes = "{}x{} and {} at {}x{}".format(*size, self.reference, *usual)
                yield (
                    f"{row.name} answers at {sizes}: how many times as fast it is tells of the"
                    " sizes, too."
                )

    def speedup(self, figures: Figures) -> tuple[float, float] | None:
        """Return how many times as fast as the reference a row is, image by image, at the least and at the most; None without one.

        Both are the medians' ratio, unless one of the two was measured with noise: then one's slow
        runs stand against the other's fast ones, and the reverse, since a single number would be
        believed.
        """
        base = self.base
        if base is None:
            return None
        if figures != base and (base.latency.noise or figures.latency.noise):
            return base.image_time(25) / figures.image_time(75), base.image_time(
                75
            ) / figures.image_time(25)
        return base.image_time(50) / figures.image_time(50), base.image_time(
            50
        ) / figures.image_time(50)

    def lost(self, figures: Figures) -> float | None:
        """Return how much higher than the reference's the mIoU of a row is, in [-1, 1].

        None where one of the two is not known.
        """
        base = self.base
        if base is None or base.accuracy is None or figures.accuracy is None:
            return None
        return figures.accuracy.scores.miou - base.accuracy.scores.miou

    def to_json(self) -> str:
        """Write the report as JSON text."""
        rows = [
            {**asdict(replace(row, figures=None)), "figures": row.figures and row.figures.to_dict()}
            for row in self.rows
        ]
        return (
            json.dumps(
                {**asdict(replace(self, rows=())), "rows": rows, "warnings": self.warnings},
                indent=2,
            )
            + "\n"
        )

    @classmethod
    def from_json(cls, text: str, *, source: str) -> Self:
        """Read a report.

        Args:
            text: What `to_json` wrote.
            source: Name of the file, for the message.

        Raises:
            DataError: It is no report, or one of another schema.
        """
        try:
            values = json.loads(text)
            if values["schema"] != SCHEMA:
                mend = (
                    "upgrade segdeploy"
                    if values["schema"] > SCHEMA
                    else "measure it again with this version"
                )
                msg = (
                    f"{source} is a report of schema {values['schema']} and this version reads"
                    f" schema {SCHEMA}; {mend}"
                )
                raise DataError(msg)
            del values["warnings"]
            rows = tuple(Row.from_dict(row) for row in values["rows"])
            asides = tuple(ExternalResult.from_dict(aside) for aside in values["asides"])
            texts = {name: tuple(values.get(name, ())) for name in ("classes", "pictures", "notes")}
            return cls(
                **{
                    **values,
                    **texts,
                    "machine": Machine.from_dict(values["machine"]),
                    "rows": rows,
                    "asides": asides,
                }
            )
        except (ValueError, TypeError, KeyError) as error:
            msg = (
                f"{source} is no report ({type(error).__name__}: {error}); was it written by"
                " 'segdeploy benchmark'?"
            )
            raise DataError(msg) from error


def read_report(path: Path) -> Report:
    """Read a report's JSON file.

    Raises:
        DataError: There is none, or it is no report of this schema.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = (
            f"{path} cannot be read ({error}); name a report.json that 'segdeploy benchmark' wrote"
        )
        raise DataError(msg) from error
    return Report.from_json(text, source=str(path))
