"""Many files and large images are read, and decompression bombs are refused."""

import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdeploy import datasets
from segdeploy.errors import DataError

CLASS_MAP = '[[classes]]\nname = "road"\n[[classes]]\nname = "car"\n'


@pytest.mark.slow
def test_ten_thousand_pairs_are_found_in_a_second(tmp_path: Path) -> None:
    """Only names are listed, once per folder; the best of five runs counts."""
    (tmp_path / "classes.toml").write_text(CLASS_MAP)
    for folder, ending in (("images", "jpg"), ("masks", "png")):
        (tmp_path / folder).mkdir()
        for number in range(10_000):
            (tmp_path / folder / f"{number}.{ending}").touch()

    seconds = []
    for _ in range(5):
        start = time.thread_time()
        index = datasets.layout("folder").index(tmp_path, "train")
        seconds.append(time.thread_time() - start)

    assert len(index.pairs) == 8000
    assert min(seconds) < 1


@pytest.mark.slow
def test_forty_megapixels_are_read(tmp_path: Path) -> None:
    """A camera's image, with a mask of the same size."""
    (tmp_path / "classes.toml").write_text(CLASS_MAP)
    for folder in ("images", "masks"):
        (tmp_path / "train" / folder).mkdir(parents=True)
    Image.new("RGB", (8000, 5000)).save(tmp_path / "train/images/a.jpg")
    mask = np.zeros((5000, 8000), np.uint8)
    mask[2500:, 4000:] = 1
    Image.fromarray(mask).save(tmp_path / "train/masks/a.png", compress_level=1)

    sample = datasets.load("folder", tmp_path, "train")[0]

    assert sample.image.shape == (5000, 8000, 3)
    assert sample.mask.sum() == 2500 * 4000


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


@pytest.mark.parametrize("bomb", ["images", "masks"])
def test_bomb_is_refused(bomb: str, tmp_path: Path) -> None:
    """A few hundred bytes that would unpack to 10 gigabytes are not unpacked."""
    (tmp_path / "classes.toml").write_text(CLASS_MAP)
    for folder in ("images", "masks"):
        (tmp_path / "train" / folder).mkdir(parents=True)
        Image.new("L", (8, 6)).save(tmp_path / "train" / folder / "a.png")
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    content = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )
    (tmp_path / "train" / bomb / "a.png").write_bytes(content)

    with pytest.raises(DataError, match=r"a\.png"):
        datasets.load("folder", tmp_path, "train")[0]
