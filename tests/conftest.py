"""What tests of several files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder with real pictures and clips (data/camvid, video/dashcam.mp4 ...); skips where there is none."""
    folder = Path(os.environ.get("SEGDEPLOY_DATA", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no real pictures at {folder}; set SEGDEPLOY_DATA")
    return folder
