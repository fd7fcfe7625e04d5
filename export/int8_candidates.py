"""Candidates of int8, and how they are measured and ranked."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.base import Backend, WrappedBackend
from segdeploy.datasets.dataset import evenly_spaced
from segdeploy.metrics.scores import Parity

from .plan import ExportPlan
from .proof import Subset, prove

if TYPE_CHECKING:
    from .calibration import CalibrationImages

Clock = Callable[[], float]

IMAGES = 24
"""Images of the proof that candidates are compared on; the chosen one is proven on all."""

TIMED_IMAGES = 4
"""Images that latency is measured on."""

RUNS = 15
"""Timed runs of each of two files, in alternation."""

NOISE = 0.05
"""Speeds within this share of each other count as equal."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Int8Candidate:
    """What was measured of a candidate on some of the images.

    Attributes:
        name: Description of its calibration.
        parity: How far it agrees with the network in float32.
        latency: Time of one image, in milliseconds.
        float_latency: The same of the float32 file, measured in alternation with it.
        size: Size of the file, in bytes.
        conversion: Entries of its card.
    """

    name: str
    parity: Parity
    latency: float
    float_latency: float
    size: int
    conversion: Mapping[str, Any]

    @property
    def speed(self) -> float:
        """Speed relative to float32; above 1 is faster."""
        return self.float_latency / self.latency

    @property
    def score(self) -> float:
        """MIoU where there are masks, else the share of equal labels."""
        return self.parity.agreement if self.parity.miou is None else self.parity.miou

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return {
            "name": self.name,
            "passed": self.parity.passed,
            "milliseconds": self.latency,
            "fp32_milliseconds": self.float_latency,
            "bytes": self.size,
            "parity": to_builtins(self.parity),
        }


class CandidateEvaluator:
    """Measures candidates on some of the images of the proof.

    Attributes:
        tried: What was measured so far.
        calibration: Images of the training split; latency is measured on some of them.
        max_miou_drop: How much mIoU may be lost, in [0, 1].
        on_step: Called after each step, with a short text.
    """

    def __init__(self, plan: ExportPlan, on_step: Callable[[str], None] = lambda _: None) -> None:
        """Choose the images.

        Args:
            plan: The plan of an export in int8.
            on_step: Called after each step, with a short text.
        """
        assert plan.calibration is not None, "a plan in int8 has calibration images"
        self.tried: list[Int8Candidate] = []
        self.calibration: CalibrationImages = plan.calibration
        self.max_miou_drop = plan.config.max_miou_drop
        self.on_step = on_step
        indices = evenly_spaced(len(plan.proof_images), IMAGES)
        self._images = Subset(images=plan.proof_images, indices=indices)

    def compare(self, backend: Backend, reference: Backend) -> Parity:
        """Return how far a candidate agrees with its reference on the images."""
        return prove(
            backend,
            reference,
            images=self._images,
            max_miou_drop=self.max_miou_drop,
            on_step=self.on_step,
        ).parity

    def evaluate(
        self,
        name: str,
        backend: Backend,
        *,
        float_backend: Backend,
        reference: Backend,
        size: int,
        conversion: Mapping[str, Any],
    ) -> Int8Candidate:
        """Measure a candidate, and keep the result in `tried`.

        Args:
            name: Description of its calibration.
            backend: The candidate.
            float_backend: The file in float32, in alternation with which it is timed.
            reference: The network that it must agree with.
            size: Size of its file, in bytes.
            conversion: Entries of its card, beside the calibration's images.
        """
        parity = self.compare(backend, reference)
        batches = self.calibration.sample(TIMED_IMAGES)
        latency, float_latency = measure_alternating(backend, float_backend, batches)
        candidate = Int8Candidate(
            name=name,
            parity=parity,
            latency=latency,
            float_latency=float_latency,
            size=size,
            conversion={
                "calibration_pictures": len(self.calibration),
                "calibration_source": self.calibration.source,
                **conversion,
            },
        )
        self.tried.append(candidate)
        return candidate


def rank_passed(candidates: Iterable[Int8Candidate]) -> list[Int8Candidate]:
    """Return the candidates that passed, the fastest first; of equally fast ones the best."""
    left = sorted(
        (candidate for candidate in candidates if candidate.parity.passed),
        key=lambda candidate: -candidate.speed,
    )
    ranked = []
    while left:
        equal = [candidate for candidate in left if candidate.speed >= left[0].speed * (1 - NOISE)]
        ranked.append(max(equal, key=lambda candidate: candidate.score))
        left.remove(ranked[-1])
    return ranked


def best_of(candidates: Iterable[Int8Candidate]) -> Int8Candidate:
    """Return the candidate with the highest score."""
    return max(candidates, key=lambda candidate: candidate.score)


def measure_alternating(
    first: Backend, second: Backend, batches: Sequence[Batch], *, clock: Clock = time.perf_counter
) -> tuple[float, float]:
    """Return the median latency of each of two files in milliseconds, measured in alternation.

    Other load of the machine falls on both alike.

    Args:
        first: A file.
        second: Another file.
        batches: Images to run on, in turn.
        clock: Returns seconds.
    """

    def timed(backend: Backend, batch: Batch) -> float:
        start = clock()
        backend.run(batch)
        return 1000 * (clock() - start)

    # Warm-up.
    timed(first, batches[0])
    timed(second, batches[0])
    pairs = []
    for run in range(RUNS):
        batch = batches[run % len(batches)]
        pairs.append((timed(first, batch), timed(second, batch)))
    first_times, second_times = zip(*pairs, strict=True)
    return median(first_times), median(second_times)


class CachedBackend(WrappedBackend):
    """A backend that keeps its output for every batch: the reference of many candidates."""

    def __init__(self, inner: Backend) -> None:
        """Wrap a backend.

        Args:
            inner: Runs the network.
        """
        super().__init__(inner)
        self._outputs: dict[tuple[tuple[int, ...], bytes], NetworkOutput] = {}

    def run(self, batch: Batch) -> NetworkOutput:
        """Return the output of the inner backend, which runs once for equal batches."""
        key = (batch.shape, batch.tobytes())
        if key not in self._outputs:
            self._outputs[key] = super().run(batch)
        return self._outputs[key]
