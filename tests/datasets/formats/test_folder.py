"""The layout of your own images also takes those of several files."""

from pathlib import Path

import cv2
import numpy as np

from segdeploy.datasets.bands import all_bands
from segdeploy.datasets.dataset import with_bands
from segdeploy.datasets.registry import load


def test_image_may_be_an_array_or_a_folder_of_bands(tmp_path: Path) -> None:
    """Satellite images come with a file for each band."""
    (tmp_path / "classes.toml").write_text('[[classes]]\nname = "field"\nid = 0\n')
    (tmp_path / "masks").mkdir()
    for name in ("a", "b", "c"):
        scene = tmp_path / "images" / name
        scene.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), np.zeros((8, 8), np.uint8))
        for band in ("B02", "B08"):
            cv2.imwrite(str(scene / f"{band}.png"), np.full((8, 8), 4000, np.uint16))

    samples = load("folder", tmp_path, "all")

    selection = all_bands(samples)
    assert selection is not None
    assert (selection.channels, selection.dtype) == (("B02", "B08"), "uint16")
    assert (with_bands(samples, selection)[0].image == 4000).all()
