"""Images are decoded inside the process, and only in common formats."""

import io
import os
import re
from contextlib import suppress

import pytest
from PIL import Image

from segdeploy.datasets.checks.mask import read_header
from segdeploy.errors import DataError
from segdeploy.imaging.header import READERS
from segdeploy.imaging.io import read_ids, read_image
from tests.helpers.imports import MODULES

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n"


def image_bytes(image, kind):
    """A Pillow image as a file's content."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A program `gs` in place of Ghostscript that creates this file when it is called."""
    called = tmp_path / "called"
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "gs").write_text(f"#!/bin/sh\ntouch '{called}'\n")
    (folder / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return called


@pytest.mark.parametrize("read", [read_image, read_ids, read_header])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.eps"])
def test_postscript_is_refused(tmp_path, ghostscript, name, read):
    """Pillow would give it to Ghostscript, which runs what the file says."""
    path = tmp_path / name
    path.write_bytes(POSTSCRIPT)

    with suppress(DataError):
        assert read(path) is None

    assert not ghostscript.exists()


@pytest.mark.parametrize("kind", READERS)
def test_each_format_is_known_by_its_content(tmp_path, kind):
    """Its name may say anything."""
    path = tmp_path / "a.jpg"
    path.write_bytes(image_bytes(Image.new("L", (5, 3), 7).convert("RGB"), kind))

    assert read_image(path).shape == (3, 5, 3)


@pytest.mark.parametrize("kind", ["ICO", "PCX", "SGI", "TGA", "DDS", "XBM", "PDF", "MSP"])
def test_every_other_format_is_refused(tmp_path, kind):
    """Also those that Pillow decodes itself: they are rarely maintained."""
    path = tmp_path / "a.png"
    path.write_bytes(
        image_bytes(Image.new("1" if kind in ("XBM", "MSP") else "RGB", (16, 16)), kind)
    )

    with pytest.raises(DataError, match="not an image of a known format"):
        read_image(path)


def test_no_image_is_opened_in_any_format():
    """`Image.open` would read every format again; `open_image` names the readers.

    The servers that ours is measured beside are programs of their own.
    """
    calls = re.compile(r"\b(Pillow)?Image\.open\(|\bfrom PIL\.?\w* import .*\bopen\b")

    found = [name for name, path in MODULES.items() if calls.search(path.read_text("utf-8"))]

    assert found == ["segdeploy.benchmarks.measure.server_load"]
