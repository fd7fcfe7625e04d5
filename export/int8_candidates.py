"""One way to compute a network in 8 bits, and what was found of it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from segdeploy.backends.base import Backend, Batch, NetworkAnswer
from segdeploy.card import ModelCard
from segdeploy.datasets.dataset import spread
from segdeploy.metrics.agreement import Parity

from .calibration import Calibration
from .proof import Evidence, Some, prove

Clock = Callable[[], float]

PICTURES = 24
"""Pictures of the proof that candidates are judged on; the last word has the whole proof."""

TIMED = 4
"""Pictures on which times are measured."""

RUNS = 15
"""Timed runs of each of two files, taking turns."""

NOISE = 0.05
"""Speeds within this share of each other are taken for equal."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """What was found of one candidate on some of the pictures.

    Attributes:
        name: How it is computed, in words.
        parity: How far it is from the network in float32.
        latency: Time for one picture, in milliseconds.
        float_latency: The same of the file in float32, measured by turns with it.
        size: Size of the file, in bytes.
        conversion: What its card shall tell.
    """

    name: str
    parity: Parity
    latency: float
    float_latency: float
    size: int
    conversion: Mapping[str, Any]

    @property
    def speed(self) -> float:
        """How many times as fast as in float32."""
        return self.float_latency / self.latency

    @property
    def score(self) -> float:
        """What tells the better of two: mIoU where there is truth, else the share of equal labels."""
        return self.parity.agreement if self.parity.miou is None else self.parity.miou

    def to_dict(self) -> dict[str, Any]:
        """Give the values as JSON knows them."""
        times = {"milliseconds": self.latency, "fp32_milliseconds": self.float_latency}
        return {
            "name": self.name,
            "passed": self.parity.passed,
            **times,
            "bytes": self.size,
            "parity": self.parity.to_dict(),
        }


class Judge:
    """Finds out what candidates are worth, on some of the pictures of the proof.

    Attributes:
        trials: What was found so far.
        calibration: Pictures of the training split, on which times are measured too.
        max_miou_drop: How much mIoU may be lost, in [0, 1].
        on_step: Called after each step, with a few words.
    """

    def __init__(
        self,
        *,
        calibration: Calibration,
        evidence: Evidence,
        max_miou_drop: float,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Choose the pictures.

        Args:
            calibration: Pictures of the training split.
            evidence: Pictures of the proof.
            max_miou_drop: How much mIoU may be lost, in [0, 1].
            on_step: Called after each step, with a few words.
        """
        self.trials: list[Trial] = []
        self.calibration = calibration
        self.max_miou_drop = max_miou_drop
        self.on_step = on_step
        self._evidence = Some(evidence=evidence, indices=spread(len(evidence), PICTURES))

    def compare(self, backend: Backend, reference: Backend) -> Parity:
        """Prove a candidate on these pictures."""
        return prove(
            backend,
            reference,
            evidence=self._evidence,
            max_miou_drop=self.max_miou_drop,
            on_step=self.on_step,
        ).parity

    def judge(
        self,
        name: str,
        backend: Backend,
        *,
        plain: Backend,
        reference: Backend,
        size: int,
        conversion: Mapping[str, Any],
    ) -> Trial:
        """Find out what a candidate is worth, and remember it.

        Args:
            name: How it is computed, in words.
            backend: The candidate.
            plain: The file in float32, beside which it is timed.
            reference: What it must answer.
            size: Size of its file, in bytes.
            conversion: What its card shall tell, beside the calibration's pictures.
        """
        parity = self.compare(backend, reference)
        latency, float_latency = by_turns(backend, plain, self.calibration.some(TIMED))
        source = {
            "calibration_pictures": len(self.calibration),
            "calibration_source": self.calibration.source,
        }
        told = {**source, **conversion}
        trial = Trial(
            name=name,
            parity=parity,
            latency=latency,
            float_latency=float_latency,
            size=size,
            conversion=told,
        )
        self.trials.append(trial)
        return trial


def preferred(trials: Iterable[Trial]) -> list[Trial]:
    """Give those that passed, the fastest first; among equally fast ones the best."""
    left = sorted(
        (trial for trial in trials if trial.parity.passed), key=lambda trial: -trial.speed
    )
    ordered = []
    while left:
        equal = [trial for trial in left if trial.speed >= left[0].speed * (1 - NOISE)]
        ordered.append(max(equal, key=lambda trial: trial.score))
        left.remove(ordered[-1])
    return ordered


def by_turns(
    first: Backend, second: Backend, batches: Sequence[Batch], *, clock: Clock = time.perf_counter
) -> tuple[float, float]:
    """Measure two files by turns, so that whatever else the machine does falls on both, and give the median of each in milliseconds."""

    def once(backend: Backend, batch: Batch) -> float:
        start = clock()
        backend.run(batch)
        return 1000 * (clock() - start)

    once(first, batches[0])
    once(second, batches[0])
    pairs = [
        (once(first, batches[run % len(batches)]), once(second, batches[run % len(batches)]))
        for run in range(RUNS)
    ]
    one, other = (median(times) for times in zip(*pairs, strict=True))
    return one, other


class Remembered:
    """A backend that answers a batch that it was asked before from memory: the reference of many candidates."""

    def __init__(self, backend: Backend) -> None:
        """Wrap a backend.

        Args:
            backend: What answers.
        """
        self._backend = backend
        self._answers: dict[tuple[tuple[int, ...], bytes], NetworkAnswer] = {}

    @property
    def card(self) -> ModelCard:
        """Its card."""
        return self._backend.card

    @property
    def device(self) -> str:
        """What runs it."""
        return self._backend.device

    def run(self, batch: Batch) -> NetworkAnswer:
        """Answer a batch."""
        key = (batch.shape, batch.tobytes())
        if key not in self._answers:
            self._answers[key] = self._backend.run(batch)
        return self._answers[key]
