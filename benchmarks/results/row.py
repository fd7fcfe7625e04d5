"""Measured values of one row of a report, and values that other commands measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from segdeploy.errors import SegdeployError
from segdeploy.metrics.scores import Scores
from segdeploy.metrics.segmentation import Agreement
from segdeploy.system.schema import convert
from segdeploy.video.profiler import StageTimes

from .latency import Latency


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What ran, as it was granted.

    Attributes:
        architecture: Name of the network.
        precision: Numeric precision of the file, for example "fp32".
        input: Height and width of the network's input, in pixels.
        device: Runtime and device, for example "onnxruntime CPUExecutionProvider".
        threads: Threads of the network.
        batch: Images per call of the network.
    """

    architecture: str
    precision: str
    input: tuple[int, int]
    device: str
    threads: int
    batch: int = 1

    def __post_init__(self) -> None:
        """Check what times are divided by; a ValueError says what is wrong."""
        if self.batch < 1:
            msg = f"batch is {self.batch}, which must be 1 or more"
            raise ValueError(msg)


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one process measured.

    Attributes:
        setting: What ran.
        cold_start: Milliseconds from the start of the process to the first mask, without the time
            to read the image.
        latency: From a batch of decoded images to their masks of the same sizes.
        network: The network alone, from a batch of its input size to its output.
        peak_memory: Peak memory of the process until the last timed run, in bytes; None where the
            system does not report it.
        energy: Joules an image while the latency was measured, by "processor" and "card", where the
            machine reports them.
    """

    setting: Setting
    cold_start: float
    latency: Latency
    network: Latency
    peak_memory: int | None
    energy: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the times; a ValueError says what is wrong."""
        for times in (self.latency, self.network, Latency(rounds=((self.cold_start,),))):
            times.check()

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON values."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return {
            **values,
            "latency": self.latency.to_dict(),
            "network": self.network.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class LabelAgreement:
    """Share of the pixels that have the reference's label, each in [0, 1].

    Attributes:
        overall: Of all pixels.
        near: Of the pixels within 3 pixels of a boundary of the reference's mask.
        by_class: Of the pixels of each class of the reference, in channel order; None where the
            class never occurs.
    """

    overall: float
    near: float
    by_class: tuple[float | None, ...]

    @classmethod
    def of(cls, counted: Agreement) -> Self:
        """Return the shares of counted pixels."""
        return cls(overall=counted.overall, near=counted.near, by_class=counted.by_class)


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy of the masks.

    Attributes:
        scores: Scores at the images' own size.
        boundaries: Boundary IoU of each class in [0, 1], in channel order; None where the class
            never occurs.
        labels: Agreement with the reference's labels; None without a reference.
        worst: Names of the images that differ most from the reference, or from the dataset's masks
            without a reference, the worst one first.
    """

    scores: Scores
    boundaries: tuple[float | None, ...]
    labels: LabelAgreement | None
    worst: tuple[str, ...] = ()

    @property
    def by_class(self) -> tuple[tuple[float | None, ...], ...]:
        """All that has a value for each class."""
        shares = () if self.labels is None else (self.labels.by_class,)
        return self.scores.iou, self.boundaries, *shares

    @property
    def boundary_iou(self) -> float:
        """Mean boundary IoU over the classes that occur."""
        known = [value for value in self.boundaries if value is not None]
        return sum(known) / len(known) if known else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON values."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return {**values, "boundary_iou": self.boundary_iou}


@dataclass(frozen=True, kw_only=True)
class Video:
    """What a whole video measured.

    Attributes:
        times: Times of the stages.
        flicker: Share of the pixels that change their class from one frame to the next and back in
            the one after, in [0, 1].
    """

    times: StageTimes
    flicker: float

    def __post_init__(self) -> None:
        """Check what frames are divided by; a ValueError says what is wrong."""
        if self.times.wall <= 0 or self.times.cores < 1:
            msg = f"a video took {self.times.wall} s on {self.times.cores} cores"
            raise ValueError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON values."""
        return {"times": self.times.to_dict(), "flicker": self.flicker}


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """What was measured of one row.

    Attributes:
        rounds: What each process measured, all with the same setting.
        accuracy: Accuracy of its masks; None for a peer with a network of its own, whose weights
            are random.
        video: What a whole video measured; None without a video.
    """

    rounds: tuple[Round, ...]
    accuracy: Accuracy | None
    video: Video | None = None

    def __post_init__(self) -> None:
        """Check that there is a round, and all measured the same; a ValueError says what not."""
        if not self.rounds:
            msg = "a row has no round"
            raise ValueError(msg)
        if len({tuple(sorted(round_.energy)) for round_ in self.rounds}) > 1:
            msg = "the rounds of a row have other kinds of energy"
            raise ValueError(msg)

    @property
    def setting(self) -> Setting:
        """What ran."""
        return self.rounds[0].setting

    @property
    def latency(self) -> Latency:
        """From a batch of decoded images to their masks of the same sizes."""
        return Latency.joined(round_.latency for round_ in self.rounds)

    @property
    def network(self) -> Latency:
        """The network alone, from a batch of its input size to its output."""
        return Latency.joined(round_.network for round_ in self.rounds)

    @property
    def cold_start(self) -> Latency:
        """From the start of a process to its first mask."""
        return Latency(rounds=tuple((round_.cold_start,) for round_ in self.rounds))

    @property
    def peak_memory(self) -> int | None:
        """Largest peak memory of all processes, in bytes; None where it is not reported."""
        known = [found.peak_memory for found in self.rounds if found.peak_memory is not None]
        return max(known, default=None)

    @property
    def energy(self) -> Mapping[str, float]:
        """Joules an image by what used them, the median of the processes."""
        names = self.rounds[0].energy
        return {
            name: sorted(found.energy[name] for found in self.rounds)[len(self.rounds) // 2]
            for name in names
        }

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.latency.rate * self.setting.batch

    def image_time(self, percent: float) -> float:
        """Return a percentile of the latency over the batch size, in milliseconds an image."""
        return self.latency.percentile(percent) / self.setting.batch

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON values, with what follows from the rounds beside them."""
        return {
            **{
                name: getattr(self, name).summary() for name in ("latency", "network", "cold_start")
            },
            "rate": self.rate,
            "peak_memory": self.peak_memory,
            "energy": self.energy,
            "rounds": [round_.to_dict() for round_ in self.rounds],
            "accuracy": self.accuracy and self.accuracy.to_dict(),
            "video": self.video and self.video.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class ExternalResult:
    """What another command measured.

    Attributes:
        title: What it measured.
        facts: On what, by name: number of samples, size and the like.
        variants: Values of each variant, by the variant's name, each by its own name.
    """

    title: str
    facts: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, float]]

    @classmethod
    def read(cls, title: str, text: str) -> Self:
        """Return what a command printed as JSON: an object "ways" of objects of numbers, and facts.

        Values of a variant that are not numbers are left out.

        Raises:
            SegdeployError: The text has another form.
        """

        def refuse(problem: str) -> SegdeployError:
            return SegdeployError(
                f"{title} printed no measurements ({problem}); the command must print JSON with"
                ' "ways"'
            )

        try:
            values = json.loads(text)
        except ValueError as error:
            raise refuse(str(error)) from error
        printed = convert(values, _Printed, refuse=refuse)
        return cls(
            title=title,
            facts={
                name: value for name, value in values.items() if name not in {"ways", "machine"}
            },
            variants={
                variant: {name: float(value) for name, value in found.items() if _is_number(value)}
                for variant, found in printed.ways.items()
            },
        )

    @property
    def columns(self) -> list[str]:
        """Names of the values, in the order in which they first occur."""
        return list(dict.fromkeys(name for values in self.variants.values() for name in values))

    @property
    def hint(self) -> str:
        """The facts in one line."""
        return ", ".join(
            f"{name} {value}" for name, value in self.facts.items() if not isinstance(value, dict)
        )

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """The variants by name, and their values as text in the order of `columns`."""
        return [
            (variant, [f"{values[name]:.4g}" if name in values else "–" for name in self.columns])
            for variant, values in self.variants.items()
        ]


@dataclass(frozen=True, kw_only=True)
class _Printed:
    """The part of a command's JSON whose form is known."""

    ways: dict[str, dict[str, Any]]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
