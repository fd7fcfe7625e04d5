"""Images larger than memory are read and written as all others are."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segdeploy.errors import DataError, OutputError
from segdeploy.imaging.io import read_ids, read_image

pytest.importorskip("pyvips")

from segdeploy.imaging.large import LargeImage, image_writer

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="9"/></svg>'


def gradient(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, (x + y) // 2 % 256], axis=2).astype(np.uint8)


def read(path: Path, step: int = 7) -> np.ndarray:
    """Read an image by some rows at a time."""
    image = LargeImage(path)
    rows = [image.read(min(step, image.height - start)) for start in range(0, image.height, step)]
    return np.concatenate(rows)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_rows_are_those_of_any_other_reader(tmp_path: Path, extension: str) -> None:
    """Blue-green-red from the top."""
    path = tmp_path / f"a.{extension}"
    cv2.imwrite(str(path), gradient(50, 61))

    np.testing.assert_array_equal(read(path), read_image(path))


def test_jpeg_is_decoded_alike(tmp_path: Path) -> None:
    """Two decoders differ in their last bit."""
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), cv2.GaussianBlur(gradient(64, 64), (9, 9), 0))

    assert np.abs(read(path).astype(int) - read_image(path)).max() <= 3


@pytest.mark.parametrize("content", [SVG, b"%!PS-Adobe-3.0 EPSF-3.0\n", b"1,2\n3,4\n"])
@pytest.mark.parametrize("name", ["a.tif", "a.svg", "a.csv"])
def test_drawings_and_tables_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """libvips has many more loaders, and some call ImageMagick, which calls other programs."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(DataError, match="not an image"):
        LargeImage(path)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_other_modes_become_colors(tmp_path: Path, mode: str) -> None:
    """Gray, palettes, transparency and 16 bits, as small images do."""
    path = tmp_path / "a.png"
    if mode == "I;16":
        Image.fromarray((gradient(20, 30)[..., 0].astype(np.uint16) << 8) + 9).save(path)
    elif mode == "RGBA":
        Image.fromarray(np.dstack([gradient(20, 30), gradient(20, 30)[..., 0]])).save(path)
    else:
        Image.fromarray(gradient(20, 30)).convert(mode).save(path)

    np.testing.assert_array_equal(read(path), read_image(path))


def test_images_are_upright(tmp_path: Path) -> None:
    """As their EXIF orientation says."""
    image = Image.fromarray(gradient(20, 30))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)

    np.testing.assert_array_equal(read(tmp_path / "a.png"), read_image(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"words", "is not an image that can be read"), (None, "there is no")]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    """One sentence with the path."""
    path = tmp_path / "a.png"
    if content:
        path.write_bytes(content)

    with pytest.raises(DataError, match=sentence):
        LargeImage(path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """A hundred bytes cannot hold an image of 150,000 by 150,000 pixels."""
    path = tmp_path / "a.png"
    header = struct.pack(">IIBBBBB", 150_000, 150_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))

    with pytest.raises(DataError, match="150000 x 150000 pixels, more than"):
        LargeImage(path)


@pytest.mark.parametrize("extension", ["tif", "png"])
@pytest.mark.parametrize("bands", [1, 3])
def test_written_rows_are_read_again(tmp_path: Path, extension: str, bands: int) -> None:
    """Masks keep every number, images every color; nothing else is left."""
    image = gradient(300, 401) if bands == 3 else gradient(300, 401)[..., 0]
    path = tmp_path / "out" / f"a.{extension}"

    with image_writer(path, 300, width=401, bands=bands) as add:
        for start in range(0, 300, 90):
            add(image[start : start + 90])

    np.testing.assert_array_equal(read_image(path) if bands == 3 else read_ids(path), image)
    assert list(path.parent.iterdir()) == [path]


def test_tiff_is_in_tiles_with_smaller_copies(tmp_path: Path) -> None:
    """A viewer opens a corner at once; a mask's smaller copies hold no class that it lacks."""
    mask = np.zeros((600, 600), np.uint8)
    mask[::2] = 9
    with image_writer(tmp_path / "a.tif", 600, width=600, bands=1) as add:
        add(mask)

    with Image.open(tmp_path / "a.tif") as image:
        assert image.tag_v2[322] == 256
        image.seek(1)
        assert image.size == (300, 300)
        assert set(np.unique(np.asarray(image))) <= {0, 9}


def failing(path: Path) -> None:
    with image_writer(path, 4, width=4, bands=1) as add:
        add(np.zeros((2, 4), np.uint8))
        msg = "the network broke"
        raise ValueError(msg)


def test_a_failed_image_leaves_nothing(tmp_path: Path) -> None:
    """Half an image must not look like a whole one."""
    with pytest.raises(ValueError, match="the network broke"):
        failing(tmp_path / "a.tif")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    """One sentence with the path."""
    (tmp_path / "file").write_bytes(b"")

    with (
        pytest.raises(OutputError, match=r"cannot create the folder .*file"),
        image_writer(tmp_path / "file" / "a.tif", 1, width=1, bands=1),
    ):
        pass


def samples() -> dict[str, tuple[Image.Image, dict[str, object]]]:
    """Images of every kind that users cut into tiles, and how Pillow saves them."""
    color = Image.fromarray(gradient(40, 70))
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = (gradient(40, 70)[..., 0].astype(np.uint16) << 8) + 9
    return {
        "a.bmp": (color, {}),
        "a.gif": (color.quantize(16), {}),
        "a.ppm": (color, {}),
        "a.webp": (color, {"lossless": True}),
        "gray.jpg": (color.convert("L"), {}),
        "progressive.jpg": (color, {"progressive": True}),
        "print.jpg": (color.convert("CMYK"), {}),
        "turned.jpg": (color, {"exif": turned}),
        "palette.png": (color.quantize(16), {}),
        "bit.png": (color.convert("1"), {}),
        "gray-alpha.png": (color.convert("LA"), {}),
        "turned.png": (color, {"exif": turned}),
        "lzw.tif": (color, {"compression": "tiff_lzw"}),
        "deflate.tif": (color.convert("RGBA"), {"compression": "tiff_adobe_deflate"}),
        "jpeg.tif": (color, {"compression": "jpeg"}),
        "bit.tif": (color.convert("1"), {"compression": "group4"}),
        "palette.tif": (color.quantize(16), {}),
        "gray.tif": (color.convert("L"), {}),
        "gray-alpha.tif": (color.convert("LA"), {}),
        "deep.tif": (Image.fromarray(deep), {}),
        "print.tif": (color.convert("CMYK"), {}),
        "ycbcr.tif": (color.convert("YCbCr"), {}),
        "lab.tif": (color.convert("LAB"), {}),
        "long.tif": (Image.fromarray(deep.astype(np.int32)), {}),
        "turned.tif": (color, {"tiffinfo": {0x0112: 6}}),
    }


@pytest.mark.parametrize("name", samples())
def test_every_kind_is_read_as_without_tiles(tmp_path: Path, name: str) -> None:
    """libvips takes other colors for some of them; one reader's answer holds for both commands."""
    image, options = samples()[name]
    path = tmp_path / name
    image.save(path, **options)

    by_rows, whole = read(path), read_image(path)

    assert by_rows.shape == whole.shape
    assert np.abs(by_rows.astype(int) - whole).max() <= 3 * name.endswith(".jpg")


def tiff_of_bands(path: Path, bands: int, photometric: int) -> None:
    """Write a TIFF of some bands by hand: libraries that write them disagree about their kinds."""
    pixels = np.full((8, 9, bands), 77, np.uint8).tobytes()
    entries = {
        256: (3, 1, 9),
        257: (3, 1, 8),
        258: (3, 1, 8),
        262: (3, 1, photometric),
        273: (4, 1, 200),
        277: (3, 1, bands),
        278: (3, 1, 8),
        279: (4, 1, len(pixels)),
    }
    directory = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in entries.items())
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4)
    path.write_bytes(head.ljust(200, b"\0") + pixels)


@pytest.mark.parametrize("photometric", range(7))
@pytest.mark.parametrize("bands", range(1, 7))
def test_bands_are_read_as_without_tiles(tmp_path: Path, bands: int, photometric: int) -> None:
    """Or refused as without tiles: a wrong band would give wrong labels and no error."""
    path = tmp_path / "a.tif"
    tiff_of_bands(path, bands, photometric)

    try:
        whole = read_image(path)
    except DataError:
        with pytest.raises(DataError):
            read(path)
    else:
        np.testing.assert_array_equal(read(path), whole)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "lzw.tif", "rows.tif"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_image_is_refused(tmp_path: Path, name: str, share: float) -> None:
    """libvips would make the rest of it black, without a word."""
    path = tmp_path / name
    compression = {"compression": "tiff_lzw"} if name == "lzw.tif" else {}
    Image.fromarray(gradient(200, 300)).save(path, **compression)
    content = path.read_bytes()
    assert read(path).any()
    path.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(DataError):
        read(path)


@pytest.mark.parametrize("ending", [".tif", ".png"])
@pytest.mark.parametrize("stem", [b"caf\xe9", b"road [page=7]", b"a:b"])
def test_files_of_any_name_are_read_and_written(tmp_path: Path, stem: bytes, ending: str) -> None:
    """Also names that are not UTF-8, or hold brackets, which libvips takes for options."""
    path = tmp_path / (os.fsdecode(stem) + ending)

    with image_writer(path, 9, width=7, bands=3) as add:
        add(gradient(9, 7))

    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(read(path), gradient(9, 7))
