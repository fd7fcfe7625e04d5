"""Plans of exports, from a network and images in memory."""

from typing import Any

import numpy as np

from segdeploy.arrays import Image, Mask
from segdeploy.card import ModelCard
from segdeploy.export.calibration import CalibrationImages
from segdeploy.export.plan import ExportConfig, ExportPlan
from segdeploy.export.proof import ProofImages
from segdeploy.models.deployed import Deployed


class RandomImages:
    """Images of random pixels, without masks."""

    source = "random images"

    def __init__(self, count: int = 1, height: int = 45, width: int = 60) -> None:
        self._shape = (height, width, 3)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[Image, Mask | None]:
        return np.random.default_rng(index).integers(0, 256, self._shape, dtype=np.uint8), None


def make_plan(
    network: Deployed,
    card: ModelCard,
    *,
    images: ProofImages | None = None,
    calibration: CalibrationImages | None = None,
    **config: Any,
) -> ExportPlan:
    """Return the plan for a network that returns what the card says; `config` is ExportConfig's."""
    return ExportPlan(
        config=ExportConfig(precision=card.precision, output=card.output, **config),
        card=card,
        network=network,
        proof_images=images or RandomImages(),
        calibration=calibration,
    )
