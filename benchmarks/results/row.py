"""Measured values of a row; values that other commands measured."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from segdeploy.errors import SegdeployError
from segdeploy.metrics.agreement import Agreement
from segdeploy.metrics.segmentation import Scores, optional_floats
from segdeploy.video.profiler import StageTimes

from .latency import Latency


@dataclass(frozen=True, kw_only=True)
class ExternalResult:
    """What another command measured.

    Attributes:
        title: What it measured.
        facts: On what, by name: the count of samples, the size and the like.
        ways: Figures of each way, by the way's name, each by its own.
    """

    title: str
    facts: Mapping[str, Any]
    ways: Mapping[str, Mapping[str, float]]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave, through JSON or not."""
        return cls(**values)

    @classmethod
    def read(cls, title: str, text: str) -> Self:
        """Take what a command printed as JSON.

        An object of figures for each way under "ways", and facts beside it.

        Raises:
            SegdeployError: It is not of that form.
        """
        try:
            values = json.loads(text)
            ways = {
                str(way): {
                    str(name): float(value)
                    for name, value in found.items()
                    if isinstance(value, int | float)
                }
                for way, found in values["ways"].items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = (
                f"{title} printed no figures ({type(error).__name__}: {error}); it must print JSON"
                ' with "ways"'
            )
            raise SegdeployError(msg) from error
        facts = {name: value for name, value in values.items() if name not in {"ways", "machine"}}
        return cls(title=title, facts=facts, ways=ways)

    @property
    def columns(self) -> list[str]:
        """Names of the figures, in the order in which they come first."""
        return list(dict.fromkeys(name for found in self.ways.values() for name in found))

    @property
    def hint(self) -> str:
        """The facts in a line."""
        return ", ".join(
            f"{name} {value}" for name, value in self.facts.items() if not isinstance(value, dict)
        )

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """The ways by name, and their figures as text in the order of `columns`."""
        return [
            (way, [f"{found[name]:.4g}" if name in found else "–" for name in self.columns])
            for way, found in self.ways.items()
        ]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What ran, as it was granted.

    Attributes:
        architecture: Name of the network.
        precision: Kind of numbers that the file computes with.
        input: Height and width of the network's input, in pixels.
        device: What ran it.
        threads: Threads that the network was given.
        batch: How many images it was given at once.
    """

    architecture: str
    precision: str
    input: tuple[int, int]
    device: str
    threads: int
    batch: int = 1

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave, through JSON or not."""
        height, width = values["input"]
        return cls(**{**values, "input": (int(height), int(width))})


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one process found.

    Attributes:
        setting: What ran.
        cold_start: From the start of the process to the first mask, in milliseconds, less reading
            the image.
        latency: From a batch of decoded images to their masks of the same sizes.
        network: The network alone, from a batch of its size to logits.
        peak_memory: The most memory that the process held until the last timed run, in bytes; None
            where nobody tells.
        energy: Joules an image while the latency was measured, by "processor" and "card", as far
            as the machine tells.
    """

    setting: Setting
    cold_start: float
    latency: Latency
    network: Latency
    peak_memory: int | None
    energy: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them."""
        return {
            **asdict(self),
            "latency": self.latency.to_dict(),
            "network": self.network.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        times = {name: Latency.from_dict(values[name]) for name in ("latency", "network")}
        return cls(**{**values, **times, "setting": Setting.from_dict(values["setting"])})


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Share of the pixels that have the reference's label, each in [0, 1].

    Attributes:
        overall: Of all pixels.
        near: Of the pixels within 3 pixels of a boundary of the reference's mask.
        by_class: Of the pixels of each class of the reference, in channel order; None where it
            never occurs.
    """

    overall: float
    near: float
    by_class: tuple[float | None, ...]

    @classmethod
    def of(cls, found: Agreement) -> Self:
        """Take the shares of what was counted."""
        return cls(overall=found.overall, near=found.near, by_class=found.by_class)


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How right the masks are.

    Attributes:
        scores: Scores at the images' own size.
        boundaries: Boundary IoU of each class in [0, 1], in channel order; None where it never
            occurs.
        labels: How far the labels are the reference's; None where there is no reference.
        worst: Names of the images that differ most from the reference, else from the truth, the
            worst one first.
    """

    scores: Scores
    boundaries: tuple[float | None, ...]
    labels: Labels | None
    worst: tuple[str, ...] = ()

    @property
    def boundary_iou(self) -> float:
        """Mean over the classes that occur."""
        found = [value for value in self.boundaries if value is not None]
        return sum(found) / len(found) if found else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them."""
        return {**asdict(self), "boundary_iou": self.boundary_iou}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        labels = values["labels"]
        return cls(
            scores=Scores.from_dict(values["scores"]),
            boundaries=optional_floats(values["boundaries"]),
            labels=(
                None
                if labels is None
                else Labels(**{**labels, "by_class": optional_floats(labels["by_class"])})
            ),
            worst=tuple(values["worst"]),
        )


@dataclass(frozen=True, kw_only=True)
class Video:
    """What a whole video showed.

    Attributes:
        times: Where the time went.
        flicker: Share of the pixels that change their class from one frame to the next and back in
            the one after, in [0, 1].
    """

    times: StageTimes
    flicker: float

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them."""
        return {"times": self.times.to_dict(), "flicker": self.flicker}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(times=StageTimes.from_dict(values["times"]), flicker=values["flicker"])


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured of one row.

    Attributes:
        rounds: What each process found; they agree in their setting.
        accuracy: How right its masks are; None of a peer with a network of its own, whose weights
            are random.
        video: What a whole video showed; None where none was named.
    """

    rounds: tuple[Round, ...]
    accuracy: Accuracy | None
    video: Video | None = None

    @property
    def setting(self) -> Setting:
        """What ran."""
        return self.rounds[0].setting

    @property
    def latency(self) -> Latency:
        """From a batch of decoded images to their masks of the same sizes."""
        return Latency.joined(found.latency for found in self.rounds)

    @property
    def network(self) -> Latency:
        """The network alone, from a batch of its size to logits."""
        return Latency.joined(found.network for found in self.rounds)

    @property
    def cold_start(self) -> Latency:
        """From the start of a process to its first mask."""
        return Latency(rounds=tuple((found.cold_start,) for found in self.rounds))

    @property
    def peak_memory(self) -> int | None:
        """The most memory that any of the processes held, in bytes; None where nobody tells."""
        return max(
            (found.peak_memory for found in self.rounds if found.peak_memory is not None),
            default=None,
        )

    @property
    def energy(self) -> Mapping[str, float]:
        """Joules an image, the median of the processes, by what spent them."""
        names = self.rounds[0].energy
        return {
            name: sorted(found.energy[name] for found in self.rounds)[len(self.rounds) // 2]
            for name in names
        }

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.latency.rate * self.setting.batch

    def image_time(self, share: float) -> float:
        """Return a percentile of the latency in milliseconds an image.

        A batch's time, shared equally among its images.
        """
        return self.latency.percentile(share) / self.setting.batch

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them, with the figures that follow from the rounds beside them."""
        followed = {
            name: getattr(self, name).summary() for name in ("latency", "network", "cold_start")
        }
        return {
            **followed,
            "rate": self.rate,
            "peak_memory": self.peak_memory,
            "energy": self.energy,
            "rounds": [found.to_dict() for found in self.rounds],
            "accuracy": self.accuracy and self.accuracy.to_dict(),
            "video": self.video and self.video.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        accuracy, video = values["accuracy"], values["video"]
        return cls(
            rounds=tuple(Round.from_dict(found) for found in values["rounds"]),
            accuracy=None if accuracy is None else Accuracy.from_dict(accuracy),
            video=None if video is None else Video.from_dict(video),
        )
