"""A file to be timed and thrown away.

Converted as any other, neither judged nor proven, since weights change no time.

Run as `python -m segdeploy.export.unproven CHECKPOINT TARGET PRECISION`.
"""

import sys
from dataclasses import replace
from pathlib import Path

from segdeploy.card import CARD_KEY
from segdeploy.models.checkpoint import load_checkpoint

from .config import FORMATS, ExportConfig
from .exporter import convert, search_int8
from .proof import gather

CALIBRATED_BY = 4
"""Drawn streets that 8 bits are calibrated on."""

ANY = ExportConfig(
    precision="int8", dataset="streets", calibration_images=CALIBRATED_BY, max_miou_drop=1.0
)
"""The fastest file in 8 bits, whatever it answers."""


def write(checkpoint: Path, target: Path, *, precision: str) -> None:
    """Write a file of the format that its ending tells.

    Raises:
        ModelError: The checkpoint cannot be used.
        ExportError: The network cannot be converted.
        MissingExtraError: A library of the format is not installed.
    """
    loaded = load_checkpoint(checkpoint)
    card, network = replace(loaded.card, precision=precision), loaded.network()
    name = next(name for name, form in FORMATS.items() if form.ending == target.suffix)
    if precision == "int8":
        evidence = gather(card, dataset=ANY.dataset, data=None, files=(), most=1)
        search, _ = search_int8(
            name, network, card=card, evidence=evidence, order=ANY, on_step=lambda _: None
        )
        candidate, _ = next(iter(search))
    else:
        candidate, _ = convert(name, network, card=card, opset=ANY.opset)
    candidate.write(target, {CARD_KEY: card.to_json()})


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), precision=sys.argv[3])
