"""Images of every kind become the same pixels, and what is none is refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from segdeploy.api.images import fetch, is_several, to_image
from segdeploy.errors import ConfigError, DataError, ImageError, MissingFileError
from segdeploy.imaging.io import write_image
from tests.helpers.http import serve_folder

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
BGR = np.ascontiguousarray(RGB[..., ::-1])


def png() -> bytes:
    """Return the image as a file."""
    content = io.BytesIO()
    PillowImage.fromarray(RGB).save(content, "png")
    return content.getvalue()


@pytest.mark.parametrize(
    ("source", "color"),
    [
        (BGR, None),
        (BGR, "bgr"),
        (RGB, "rgb"),
        (RGB[..., ::-1], None),
        (np.dstack([BGR, BGR[..., :1]]), None),
        (np.dstack([RGB, BGR[..., :1]]), "rgb"),
        (PillowImage.fromarray(RGB), None),
        (PillowImage.fromarray(RGB).convert("RGBA"), None),
        (png(), None),
        (bytearray(png()), None),
        (memoryview(png()), None),
    ],
)
def test_kinds_in_memory_become_the_same_image(source: Any, color: Any) -> None:
    """Blue-green-red, contiguous, of the image's size."""
    image = to_image(source, color)

    np.testing.assert_array_equal(image, BGR)
    assert image.flags.c_contiguous
    assert image.dtype == np.uint8


def test_path_and_text_become_the_image(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", BGR)

    np.testing.assert_array_equal(to_image(tmp_path / "a.png", None), BGR)
    np.testing.assert_array_equal(to_image(str(tmp_path / "a.png"), None), BGR)


def test_gray_becomes_three_channels() -> None:
    gray = RGB[..., 0]

    for source in (gray, gray[..., None], PillowImage.fromarray(gray)):
        np.testing.assert_array_equal(to_image(source, None), np.dstack([gray] * 3))


def test_photograph_of_pillow_is_turned_upright() -> None:
    """As its file is, so that a path and an opened image have one mask."""
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    PillowImage.fromarray(RGB).save(content, "png", exif=exif)

    opened = to_image(PillowImage.open(content), None)

    np.testing.assert_array_equal(opened, to_image(content.getvalue(), None))
    assert opened.shape == (7, 5, 3)


def test_tensors_are_red_green_blue() -> None:
    """Of uint8 or of floats in [0, 1], with or without gradients."""
    torch = pytest.importorskip("torch")
    planes = torch.from_numpy(RGB).permute(2, 0, 1)

    for tensor in (planes, planes / 255, (planes / 255).double().requires_grad_()):
        np.testing.assert_array_equal(to_image(tensor, None), BGR)
    np.testing.assert_array_equal(to_image(planes.flip(0), "bgr"), BGR)
    assert is_several(planes[None])
    assert not is_several(planes)


@pytest.mark.parametrize(
    ("shape", "change", "reason"),
    [
        ((5, 7, 3), lambda tensor: tensor, r"uint8 of shape \(5, 7, 3\); pass \(3, H, W\)"),
        ((1, 5, 7), lambda tensor: tensor, r"\(1, 5, 7\)"),
        ((3, 0, 7), lambda tensor: tensor, r"\(3, 0, 7\)"),
        ((3, 5, 7), lambda tensor: tensor.long(), "int64"),
        ((3, 5, 7), lambda tensor: tensor.float() + 1.5, r"floats are in \[1.5, 1.5\]"),
        ((3, 5, 7), lambda tensor: tensor.float() - 0.5, r"\[-0.5, -0.5\].* not normalized"),
        ((3, 5, 7), lambda tensor: tensor.float() / 0, r"\[nan, nan\]"),
    ],
)
def test_other_tensors_are_refused(shape: tuple[int, ...], change: Any, reason: str) -> None:
    """A normalized tensor would be a dark image, and one of other axes three rows."""
    torch = pytest.importorskip("torch")

    with pytest.raises(ValueError, match=reason):
        to_image(change(torch.zeros(shape, dtype=torch.uint8)), None)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (np.zeros((4, 4, 3)), r"float64 of shape \(4, 4, 3\); pass \(H, W, 3\) uint8"),
        (np.zeros((3, 4, 5), np.uint8), r"uint8 of shape \(3, 4, 5\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"\(2, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((4, 4), np.uint16), "uint16"),
        (PillowImage.new("F", (2, 2)), "floating-point"),
        (PillowImage.new("RGB", (0, 2)), "it is empty"),
        (3, r"the number of a camera, not an image; use net\.stream\(3\)"),
        (None, "a NoneType; pass a path"),
        ({"a": 1}, "a dict"),
        ("rtsp://door/1", r"use net\.stream\('rtsp://door/1'\)"),
        ("file:///etc/passwd", "is not the address of an image"),
    ],
)
def test_what_is_no_image_is_refused(source: Any, reason: str) -> None:
    """With what to pass instead, as a ValueError."""
    with pytest.raises(ImageError, match=reason):
        to_image(source, None)


def test_bytes_of_no_image_are_refused() -> None:
    with pytest.raises(DataError, match="what the 5 bytes hold is not an image of a known format"):
        to_image(b"hello", None)


def test_other_paths_say_where_they_go(tmp_path: Path) -> None:
    """A folder and a video are for a stream."""
    (tmp_path / "clip.mp4").write_bytes(b"0" * 100)

    with pytest.raises(ImageError, match=r"is a folder; use net\.stream"):
        to_image(tmp_path, None)
    with pytest.raises(DataError, match=r"a video, a list or a pattern is for net\.stream"):
        to_image(tmp_path / "clip.mp4", None)
    with pytest.raises(MissingFileError, match="there is no none"):
        to_image("none", None)


def test_address_of_an_image_is_read(tmp_path: Path) -> None:
    """Through HTTP, within the budget of a file."""
    write_image(tmp_path / "a.png", BGR)
    with serve_folder(tmp_path) as address:
        np.testing.assert_array_equal(to_image(f"{address}/a.png", None), BGR)
        with pytest.raises(DataError, match=r"no image can be read from .* 404"):
            to_image(f"{address}/none.png", None)


def test_large_response_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may send without end."""
    write_image(tmp_path / "a.png", np.zeros((400, 400, 3), np.uint8))
    monkeypatch.setenv("SEGDEPLOY_FILE_BUDGET", "100")
    with serve_folder(tmp_path) as address, pytest.raises(DataError, match="more than the"):
        fetch(f"{address}/a.png")


def test_redirection_to_a_file_is_not_followed(tmp_path: Path) -> None:
    """A server must not choose a file of this machine."""
    with (
        serve_folder(tmp_path, location="file:///etc/hostname") as address,
        pytest.raises(DataError, match="no image can be read from"),
    ):
        fetch(f"{address}/a.png")


def test_unknown_color_is_refused() -> None:
    from segdeploy.api.images import check_color

    with pytest.raises(ConfigError, match="the color order is 'gbr'"):
        check_color("gbr")
