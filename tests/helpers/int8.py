"""Int8 candidates with numbers that a test chooses."""

from segdeploy.export.int8_candidates import Int8Candidate
from segdeploy.metrics.scores import Parity


def make_parity(
    *, miou: float | None = 0.5, agreement: float = 0.99, budget: float = 0.005
) -> Parity:
    """Return a parity whose reference has 0.5 mIoU, where `miou` is given."""
    return Parity(
        agreement=agreement,
        boundary_agreement=1,
        class_agreement=(1.0, None),
        largest_difference=0,
        miou=miou,
        reference_miou=None if miou is None else 0.5,
        images=1,
        source="",
        reference="torch",
        gate=0.98,
        max_miou_drop=budget,
    )


def make_candidate(name: str, *, speed: float = 2, parity: Parity | None = None) -> Int8Candidate:
    """Return a candidate with a latency of 10 ms; its calibration rule is its name."""
    return Int8Candidate(
        name=name,
        parity=parity or make_parity(),
        latency=10,
        float_latency=10 * speed,
        size=1,
        conversion={"calibration": name},
    )
