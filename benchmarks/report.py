"""What a benchmark found, as values that are written and read again."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from segdeploy.errors import DataError
from segdeploy.machine import Machine
from segdeploy.scores import Scores
from segdeploy.video.times import StageTimes

from .latency import Latency

SCHEMA = 1

BUSY = 1.5
"""Load a core from which others surely compete; what ran just before the benchmark leaves a load of up to 1."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Share of the pixels that have the reference's label, each in [0, 1].

    Attributes:
        overall: Of all pixels.
        near: Of the pixels within 3 pixels of a boundary of the reference's mask.
        by_class: Of the pixels of each class of the reference, in channel order; None where it never occurs.
    """

    overall: float
    near: float
    by_class: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured of one artifact.

    Attributes:
        architecture: Name of the network.
        precision: Kind of numbers that the file computes with.
        input: Height and width of the network's input, in pixels.
        device: What ran it, as it was granted.
        threads: Threads that the network was given.
        cold_start: From the start of a process to its first mask; each round is a process of its own.
        latency: From a decoded picture to its mask of the same size.
        network: The network alone, from a batch of its size to logits.
        peak_memory: The most memory that a process held until its last timed run, in bytes; None where nobody tells.
        scores: Scores at the pictures' own size.
        labels: How far the labels are the reference's; None where there is no reference.
        video: Where the time of a whole video went; None where none was named.
    """

    architecture: str
    precision: str
    input: tuple[int, int]
    device: str
    threads: int
    cold_start: Latency
    latency: Latency
    network: Latency
    peak_memory: int | None
    scores: Scores
    labels: Labels | None
    video: StageTimes | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the values as JSON knows them."""
        times = {name: getattr(self, name).to_dict() for name in ("cold_start", "latency", "network")}
        return {**asdict(self), **times, "video": self.video and self.video.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        labels, video = values["labels"], values["video"]
        height, width = values["input"]
        return cls(
            **{
                **values,
                **{name: Latency.from_dict(values[name]) for name in ("cold_start", "latency", "network")},
                "input": (height, width),
                "scores": Scores.from_dict(values["scores"]),
                "labels": None if labels is None else Labels(**{**labels, "by_class": tuple(labels["by_class"])}),
                "video": None if video is None else StageTimes.from_dict(video),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One artifact.

    Attributes:
        name: Name that no other row has.
        path: Where the file was.
        size: Size of the file, in bytes.
        figures: What was measured; None where it failed.
        error: Why it failed; "" where it did not.
    """

    name: str
    path: str
    size: int
    figures: Figures | None
    error: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read one row of a report."""
        figures = values["figures"]
        return cls(**{**values, "figures": None if figures is None else Figures.from_dict(figures)})


@dataclass(frozen=True, kw_only=True)
class Report:
    """All rows of one benchmark, and what they were measured on.

    Attributes:
        created: When it was finished, as ISO 8601 in UTC.
        dataset: Name of the data set.
        split: Its split.
        pictures: Names of the pictures that were answered, at even distances over the split; nothing is drawn at random.
        classes: Names of the classes, in channel order.
        reference: Name of the row that the others are compared with; None where no checkpoint was named.
        runs: Timed runs a round.
        rounds: Rounds, each in a process of its own, rows taking turns.
        warm_up: Runs before the timed ones of each round.
        machine: The machine, before the first round.
        load_after: Its load after the last round; None where nobody tells.
        video: Path of the video that was run over; None where none was named.
        rows: The artifacts in the order in which they were named.
        schema: Version of this form.
    """

    created: str
    dataset: str
    split: str
    pictures: tuple[str, ...]
    classes: tuple[str, ...]
    reference: str | None
    runs: int
    rounds: int
    warm_up: int
    machine: Machine
    load_after: float | None
    video: str | None
    rows: tuple[Row, ...]
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
    def warnings(self) -> tuple[str, ...]:
        """What makes the figures doubtful, a sentence each."""
        machine = self.machine
        busy = machine.load is not None and machine.load > BUSY * machine.host_cores
        load = f"load {machine.load} on {machine.host_cores} cores"
        crowd = [f"The machine was busy before the first round ({load}): the times are doubtful."] if busy else []
        noises = [(row.name, figures.latency.noise) for row, figures in self.measured]
        return (*crowd, *(f"{name} was measured with noise: {noise}." for name, noise in noises if noise))

    def speedup(self, figures: Figures) -> tuple[float, float] | None:
        """Give how many times as fast as the reference a row is, at the least and at the most; None without a reference.

        Both are the medians' ratio, unless one of the two was measured with noise: then one's slow runs stand against the other's
        fast ones, and the reverse, since a single number would be believed.
        """
        if self.base is None:
            return None
        base, own = self.base.latency, figures.latency
        if own != base and (base.noise or own.noise):
            return base.percentile(25) / own.percentile(75), base.percentile(75) / own.percentile(25)
        return base.median / own.median, base.median / own.median

    def to_json(self) -> str:
        """Write the report as JSON text."""
        rows = [{**asdict(replace(row, figures=None)), "figures": row.figures and row.figures.to_dict()} for row in self.rows]
        return json.dumps({**asdict(replace(self, rows=())), "rows": rows, "warnings": self.warnings}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str) -> Self:
        """Read a report.

        Args:
            text: What `to_json` wrote.
            source: Name of the file, for the message.

        Raises:
            DataError: It is no report, or one of a newer schema.
        """
        try:
            values = json.loads(text)
            if values["schema"] > SCHEMA:
                msg = f"{source} is a report of schema {values['schema']} and this version reads up to {SCHEMA}; upgrade segdeploy"
                raise DataError(msg)
            del values["warnings"]
            rows = tuple(Row.from_dict(row) for row in values["rows"])
            texts = {name: tuple(values[name]) for name in ("classes", "pictures")}
            return cls(**{**values, **texts, "machine": Machine.from_dict(values["machine"]), "rows": rows})
        except (ValueError, TypeError, KeyError) as error:
            msg = f"{source} is no report ({type(error).__name__}: {error}); was it written by 'segdeploy benchmark'?"
            raise DataError(msg) from error
