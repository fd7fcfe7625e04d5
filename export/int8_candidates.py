"""One way to compute a network in 8 bits, and what was found of it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from segdeploy.backends.base import Backend, Batch, NetworkOutput
from segdeploy.card import ModelCard
from segdeploy.datasets.dataset import evenly_spaced
from segdeploy.metrics.agreement import Parity

from .calibration import Calibration
from .proof import ProofImages, Subset, prove

Clock = Callable[[], float]

IMAGES = 24
"""Images of the proof that candidates are judged on; the last word has the whole proof."""

TIMED = 4
"""Images on which times are measured."""

RUNS = 15
"""Timed runs of each of two files, taking turns."""

NOISE = 0.05
"""Speeds within this share of each other are taken for equal."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Int8Candidate:
    """What was found of one candidate on some of the images.

    Attributes:
        name: How it is computed, in words.
        parity: How far it is from the network in float32.
        latency: Time for one image, in milliseconds.
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
        """What tells the better of two.

        MIoU where there is truth, else the share of equal labels.
        """
        return self.parity.agreement if self.parity.miou is None else self.parity.miou

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them."""
        times = {"milliseconds": self.latency, "fp32_milliseconds": self.float_latency}
        return {
            "name": self.name,
            "passed": self.parity.passed,
            **times,
            "bytes": self.size,
            "parity": self.parity.to_dict(),
        }


class CandidateEvaluator:
    """Finds out what candidates are worth, on some of the images of the proof.

    Attributes:
        candidates: What was found so far.
        calibration: Images of the training split, on which times are measured too.
        max_miou_drop: How much mIoU may be lost, in [0, 1].
        on_step: Called after each step, with a few words.
    """

    def __init__(
        self,
        *,
        calibration: Calibration,
        evidence: ProofImages,
        max_miou_drop: float,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Choose the images.

        Args:
            calibration: Images of the training split.
            evidence: Images of the proof.
            max_miou_drop: How much mIoU may be lost, in [0, 1].
            on_step: Called after each step, with a few words.
        """
        self.candidates: list[Int8Candidate] = []
        self.calibration = calibration
        self.max_miou_drop = max_miou_drop
        self.on_step = on_step
        self._evidence = Subset(evidence=evidence, indices=evenly_spaced(len(evidence), IMAGES))

    def compare(self, backend: Backend, reference: Backend) -> Parity:
        """Prove a candidate on these images."""
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
    ) -> Int8Candidate:
        """Find out what a candidate is worth, and remember it.

        Args:
            name: How it is computed, in words.
            backend: The candidate.
            plain: The file in float32, beside which it is timed.
            reference: What it must answer.
            size: Size of its file, in bytes.
            conversion: What its card shall tell, beside the calibration's images.
        """
        parity = self.compare(backend, reference)
        latency, float_latency = by_turns(backend, plain, self.calibration.some(TIMED))
        source = {
            "calibration_pictures": len(self.calibration),
            "calibration_source": self.calibration.source,
        }
        told = {**source, **conversion}
        candidate = Int8Candidate(
            name=name,
            parity=parity,
            latency=latency,
            float_latency=float_latency,
            size=size,
            conversion=told,
        )
        self.candidates.append(candidate)
        return candidate


def preferred(candidates: Iterable[Int8Candidate]) -> list[Int8Candidate]:
    """Return those that passed, the fastest first; among equally fast ones the best."""
    left = sorted(
        (candidate for candidate in candidates if candidate.parity.passed),
        key=lambda candidate: -candidate.speed,
    )
    ordered = []
    while left:
        equal = [candidate for candidate in left if candidate.speed >= left[0].speed * (1 - NOISE)]
        ordered.append(max(equal, key=lambda candidate: candidate.score))
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


class CachedBackend:
    """A backend that answers a batch that it was asked before from memory.

    The reference of many candidates.
    """

    def __init__(self, backend: Backend) -> None:
        """Wrap a backend.

        Args:
            backend: What answers.
        """
        self._backend = backend
        self._answers: dict[tuple[tuple[int, ...], bytes], NetworkOutput] = {}

    @property
    def card(self) -> ModelCard:
        """Its card."""
        return self._backend.card

    @property
    def device(self) -> str:
        """What runs it."""
        return self._backend.device

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer a batch."""
        key = (batch.shape, batch.tobytes())
        if key not in self._answers:
            self._answers[key] = self._backend.run(batch)
        return self._answers[key]
