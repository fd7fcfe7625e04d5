"""OpenVINO files in int8, by NNCF."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

pytest.importorskip("nncf")

from segdeploy.datasets.synthetic.dataset import Streets
from segdeploy.export.calibration import CalibrationImages
from segdeploy.export.openvino_int8 import search
from segdeploy.export.proof import DatasetSplit
from segdeploy.models.checkpoint import load_checkpoint
from tests.helpers.plans import make_plan


@pytest.mark.slow
def test_nncf_sends_no_usage_statistics() -> None:
    """The variable is read when NNCF is imported; pytest alone would turn them off too."""
    code = (
        "import segdeploy.export.openvino_int8\n"
        "from nncf.telemetry.wrapper import NNCFTelemetry, telemetry\n"
        "print(isinstance(telemetry, NNCFTelemetry))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stdout.split()[-1:] == ["False"], done.stderr


@pytest.mark.slow
def test_search_tries_both_presets(artifacts: Path) -> None:
    """Symmetric ranges are faster on some processors, and mixed ones more accurate."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    card = structs.replace(checkpoint.card, precision="int8")
    train, val = (Streets(split=split, count=2, height=45, width=60) for split in ("train", "val"))
    plan = make_plan(
        checkpoint.network(),
        card,
        images=DatasetSplit(source="streets val", dataset=val, indices=[0, 1], labeled=True),
        calibration=CalibrationImages(
            source="streets train", dataset=train, indices=(0, 1), spec=card.input
        ),
        max_miou_drop=1.0,
    )

    candidates = search(plan, lambda _: None)
    found, measured = next(iter(candidates))

    assert [candidate.name for candidate in candidates.tried] == ["symmetric", "mixed"]
    assert measured in candidates.tried
    assert found.precision == "int8"
    assert measured.conversion["calibration_source"] == "streets train"
