"""A file for timing, converted as any other and not proven: weights change no latency.

Run as `python -m segdeploy.export.unproven CHECKPOINT TARGET PRECISION`.
"""

import sys
from pathlib import Path

from segdeploy.card import CARD_KEY
from segdeploy.models.checkpoint import load_checkpoint

from .exporter import convert, resolve
from .plan import FORMATS, ExportConfig, format_of

CALIBRATION_IMAGES = 4
"""Synthetic streets that int8 is calibrated on."""


def write(checkpoint: Path, target: Path, *, precision: str) -> None:
    """Write a file in the format of its ending; in int8 the fastest candidate.

    Raises:
        ModelError: The checkpoint cannot be used.
        ExportError: The network cannot be converted.
        MissingExtraError: A library of the format is not installed.
    """
    loaded = load_checkpoint(checkpoint)
    config = ExportConfig(
        precision=precision,
        output=loaded.card.output,
        dynamic=loaded.card.input.dynamic,
        dataset="streets",
        proof_images=1,
        max_miou_drop=1.0,
        calibration_images=CALIBRATION_IMAGES,
    )
    plan = resolve(loaded.network(), loaded.card, config, targets={})
    file_format = FORMATS[str(format_of(target))]
    candidate, _ = next(iter(convert(plan, file_format)))
    candidate.write(target, {CARD_KEY: plan.card.to_json()})


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), precision=sys.argv[3])
