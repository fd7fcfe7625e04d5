"""The study of the page: labels, speed and memory in one run, with an image and a camera."""

import json
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from segdeploy.benchmarks.studies.browser import find_chromium, main
from segdeploy.imaging.io import read_image
from tests.helpers.pages import require_runtime

STREET = Path(__file__).parents[3] / "docs" / "bundled" / "street.jpg"


@pytest.mark.slow
def test_the_study_compares_and_watches(tmp_path: Path) -> None:
    """Each figure that the documentation states comes from this command."""
    pytest.importorskip("playwright")
    require_runtime()
    if find_chromium() is None:
        pytest.skip("no Chromium: install Debian's chromium")
    for index in range(5):
        cv2.imwrite(str(tmp_path / f"{index}.png"), read_image(STREET)[::8, ::8])

    done = CliRunner().invoke(main, ["street", str(tmp_path), "--camera", "1", "--every", "1"])

    result = json.loads(done.stdout)
    assert result["images"] == 5
    assert result["differing"] <= 0.001 * result["pixels"]
    assert result["share_of_native_speed"] > 0
    assert len(result["memory_mb"]) >= 2
    assert result["camera_fps"] > 0
