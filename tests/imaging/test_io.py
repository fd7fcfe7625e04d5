"""Images are read as their files mean them, and other files are refused."""

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from segdeploy.errors import ConfigError, DataError, OutputError
from segdeploy.imaging.io import image_names, list_images, read_ids, read_image, write_image

RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)

many = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def encoded(image, kind, **options):
    """A Pillow image as a file's content."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, depth, color, rows):
    """A PNG written by hand: rows are bytes, each without its filter byte."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def noise(height=24, width=32):
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    )


def test_colors_are_blue_green_red(tmp_path):
    """The most frequent mistake."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("RGB", (2, 1), (255, 0, 0)), "PNG"))

    assert read_image(path).tolist() == [[[0, 0, 255], [0, 0, 255]]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_upright(tmp_path, orientation, kind):
    """Phones store the sensor's rows and their orientation.

    Red stands at the top left once that is undone.
    """
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = (255, 0, 0)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = Image.fromarray(upright)
    stored = stored if orientation == 1 else stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a"
    path.write_bytes(encoded(stored, kind, exif=exif))

    image = read_image(path)

    assert image.shape == (16, 32, 3)
    assert image[2, 2, 2] > 200
    assert image[2, -2].max() < 50
    assert image[-2, 2].max() < 50


@pytest.mark.parametrize(
    ("image", "color"),
    [
        (Image.new("L", (3, 2), 90), (90, 90, 90)),
        (Image.new("1", (3, 2), 1), (255, 255, 255)),
        (Image.new("LA", (3, 2), (90, 0)), (90, 90, 90)),
        (Image.new("RGBA", (3, 2), (1, 2, 3, 0)), (3, 2, 1)),
        (Image.new("RGB", (3, 2), (255, 0, 0)).quantize(4), RED),
        (Image.fromarray(np.full((2, 3), 90 * 257, np.uint16)), (90, 90, 90)),
    ],
    ids=["gray", "one bit", "gray and alpha", "alpha", "palette", "16 bits"],
)
def test_every_kind_of_png_becomes_three_channels(tmp_path, image, color):
    """Users have more kinds of images than cameras write.

    Under transparency the stored color counts.
    """
    path = tmp_path / "a.png"
    path.write_bytes(encoded(image, "PNG"))

    image = read_image(path)

    assert image.shape == (2, 3, 3)
    assert image.dtype == np.uint8
    assert (image == color).all()


def test_16_bits_of_color_keep_their_upper_8(tmp_path):
    """Red 0xAA01, green 0xBB02, blue 0xCC03."""
    path = tmp_path / "a.png"
    path.write_bytes(png(1, 1, 16, 2, [bytes([0xAA, 1, 0xBB, 2, 0xCC, 3])]))

    assert read_image(path).tolist() == [[[0xCC, 0xBB, 0xAA]]]


def test_print_colors_become_screen_colors(tmp_path):
    """Full cyan and yellow, no magenta and black: green."""
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(Image.new("CMYK", (16, 16), (255, 0, 255, 0)), "JPEG", quality=95))

    np.testing.assert_allclose(read_image(path)[8, 8], GREEN, atol=4)


def test_opencv_and_pillow_decode_a_jpeg_alike(tmp_path):
    """OpenCV, which is faster, gives the same pixels as Pillow.

    The trailing byte makes the second file go through Pillow.
    """
    content = encoded(noise(), "JPEG")
    fast, careful = tmp_path / "a.jpg", tmp_path / "b.jpg"
    fast.write_bytes(content)
    careful.write_bytes(content + b"\0")

    np.testing.assert_array_equal(read_image(fast), read_image(careful))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@many
@given(share=st.floats(0, 0.98))
def test_a_truncated_image_is_refused(tmp_path, kind, share):
    """Half an image with a gray rest would be segmented without an error."""
    content = encoded(noise(), kind)
    path = tmp_path / "a"
    path.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(DataError):
        read_image(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
@many
@given(
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8)
)
def test_a_damaged_image_is_an_image_or_refused(tmp_path, kind, changes):
    """Whatever bytes are changed, nothing but a DataError leaves the reader."""
    content = bytearray(encoded(noise(8, 8), kind))
    for place, value in changes:
        content[int(len(content) * place)] = value
    path = tmp_path / "a"
    path.write_bytes(content)

    with suppress(DataError):
        assert read_image(path).shape[2] == 3
    with suppress(DataError):
        assert read_ids(path).ndim == 2


@many
@given(
    content=st.binary(),
    start=st.sampled_from(
        [
            b"",
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a",
            b"II*\0",
            b"RIFF\0\0\0\0WEBP",
            b"BM",
            b"P6 ",
        ]
    ),
)
def test_other_files_are_refused(tmp_path, content, start):
    """A first few bytes that look right are not enough."""
    path = tmp_path / "a"
    path.write_bytes(start + content)

    with suppress(DataError):
        assert read_image(path).dtype == np.uint8


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path):
    """A few bytes that claim 60,000 x 60,000 pixels."""
    path = tmp_path / "a.png"
    path.write_bytes(png(60_000, 60_000, 8, 2, [b""]))

    with pytest.raises(DataError, match=r"60000 x 60000 pixels and would take 40\.2 GiB"):
        read_image(path)


def test_a_missing_file_is_reported(tmp_path):
    """With its name, and so is a folder in place of a file."""
    with pytest.raises(DataError, match=r"there is no .*a\.png"):
        read_image(tmp_path / "a.png")
    with pytest.raises(DataError, match="cannot read"):
        read_ids(tmp_path)


def test_ids_of_a_palette_image_are_its_numbers(tmp_path):
    """The colors of the palette do not count."""
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([9, 9, 9] * 2 + [1, 2, 3])
    for kind in ("PNG", "GIF"):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(encoded(image, kind))

        assert read_ids(path).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("depth", "packed", "ids"),
    [(1, 0b10100000, [1, 0, 1]), (2, 0b00111000, [0, 3, 2]), (8, None, [0, 11, 255])],
)
def test_ids_of_a_gray_image_are_its_numbers(tmp_path, depth, packed, ids):
    """Also of 1 and 2 bits, which viewers and libraries scale to 0 to 255."""
    path = tmp_path / "a.png"
    path.write_bytes(png(3, 1, depth, 0, [bytes(ids) if packed is None else bytes([packed])]))

    assert read_ids(path).tolist() == [ids]


def test_ids_of_4_bits(tmp_path):
    """Two numbers a byte."""
    path = tmp_path / "a.png"
    path.write_bytes(png(3, 1, 4, 0, [bytes([0x0B, 0xF0])]))

    assert read_ids(path).tolist() == [[0, 11, 15]]


def test_colors_are_not_ids(tmp_path):
    """A colored image in place of a mask is refused, and so are numbers beyond 8 bits."""
    for number, image in enumerate((noise(), Image.fromarray(np.full((2, 2), 300, np.uint16)))):
        path = tmp_path / f"{number}.png"
        path.write_bytes(encoded(image, "PNG"))

        with pytest.raises(DataError, match="holds colors or numbers outside 0 to 255"):
            read_ids(path)


def test_what_is_written_is_read(tmp_path):
    """PNG keeps every number of an image and of a mask."""
    image = np.asarray(noise())
    mask = image[..., 0]

    write_image(tmp_path / "new" / "a.png", image)
    write_image(tmp_path / "m.png", mask)
    write_image(tmp_path / "a.jpg", cv2.GaussianBlur(image, (0, 0), 5))

    np.testing.assert_array_equal(read_image(tmp_path / "new" / "a.png"), image)
    np.testing.assert_array_equal(read_ids(tmp_path / "m.png"), mask)
    assert (
        np.abs(
            read_image(tmp_path / "a.jpg").astype(int) - cv2.GaussianBlur(image, (0, 0), 5)
        ).mean()
        < 3
    )


@pytest.mark.parametrize(("name", "channels"), [("a.xyz", 3), ("a", 3), ("a.jpg", 1)])
def test_an_extension_that_cannot_be_written_is_refused(tmp_path, name, channels):
    """JPEG would change a mask's numbers."""
    image = np.zeros((4, 4, 3), np.uint8) if channels == 3 else np.zeros((4, 4), np.uint8)

    with pytest.raises(ConfigError, match=r"its name must end in \.png"):
        write_image(tmp_path / name, image)


def test_images_of_a_folder_come_sorted(tmp_path):
    """By name, without other files and hidden ones; files stay in the order given."""
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "c.png.part"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.png").mkdir()

    found = list_images([tmp_path / "b.png", tmp_path])

    assert [path.name for path in found] == ["b.png", "a.JPG", "b.png"]


def test_a_folder_without_images_is_refused(tmp_path):
    """So is a path that does not exist."""
    with pytest.raises(DataError, match="no image lies in"):
        list_images([tmp_path])
    with pytest.raises(DataError, match="there is no"):
        list_images([tmp_path / "nowhere"])


def test_real_images_and_masks_fit(real):
    """Gray PNG and palette GIF masks lie beside PNG and JPEG images."""
    for folder, labels in (
        ("camvid/val", "camvid/valannot"),
        ("carvana/train", "carvana/train_masks"),
    ):
        image = read_image(list_images([real / "data" / folder])[0])
        mask = read_ids(list_images([real / "data" / labels])[0])

        assert mask.shape == image.shape[:2]
        assert mask.max() <= 11


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"tEXt", b"a\0b"),
        (b"gAMA", struct.pack(">I", 22000)),
        (b"sRGB", b"\0"),
        (b"tRNS", bytes(6)),
    ],
)
def test_opencv_and_pillow_decode_a_png_alike(tmp_path, kind, data):
    """OpenCV decodes plain PNGs because it is faster.

    Nothing that a file says beside its pixels may change them.
    """
    path = tmp_path / "a.png"
    content = encoded(noise(), "PNG")
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content[:33] + chunk + content[33:])

    assert (read_image(path)[:, :, ::-1] == np.asarray(noise())).all()


def test_a_damaged_png_writes_nothing_of_its_own(tmp_path, capfd):
    """libpng writes to stderr, where the user shall read our one sentence only."""
    path = tmp_path / "a.png"
    content = bytearray(encoded(noise(), "PNG"))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(DataError, match="damaged"):
        read_image(path)

    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("options", [{}, {"transparency": 3}])
def test_a_png_without_its_palette_is_refused(tmp_path, options):
    """Pillow makes it black, or asserts that there is one."""
    path = tmp_path / "a.png"
    content = encoded(noise().quantize(9), "PNG", **options)
    start = content.index(b"PLTE") - 4
    size = 12 + int.from_bytes(content[start : start + 4])
    path.write_bytes(content[:start] + content[start + size :])

    with pytest.raises(DataError, match="damaged"):
        read_image(path)


def test_images_of_one_name_are_told_apart():
    """By as many folders as it takes; the same file twice is the same image."""
    paths = [Path(path) for path in ("a/x/0.png", "b/x/0.png", "b/1.png", "0.png", "0.png")]

    assert image_names(paths) == ["a/x/0.png", "b/x/0.png", "1.png", "0.png", "0.png"]


def test_the_smallest_image_is_read(tmp_path):
    """A PPM of one pixel is 14 bytes."""
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6 1 1 255\n\1\2\3")

    assert read_image(path).tolist() == [[[3, 2, 1]]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [b"rubbish", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + bytes(99)],
)
def test_damaged_exif_leaves_the_pixels(tmp_path, kind, exif):
    """Cameras and programs write it in many ways, and the pixels are whole."""
    path = tmp_path / "a"
    path.write_bytes(encoded(noise(), kind, exif=b"Exif\0\0" + exif))

    assert read_image(path).shape == (24, 32, 3)


def test_a_jpeg_of_many_scans_is_refused(tmp_path):
    """Each scan takes some bytes of the file and visits every pixel."""
    path = tmp_path / "a.jpg"
    content = encoded(noise(), "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    path.write_bytes(content[:-2] + scan * 200 + content[-2:])

    with pytest.raises(DataError, match="scans"):
        read_image(path)


def test_an_endless_file_is_refused(tmp_path, monkeypatch):
    """Named as an image, a device is read no further than the budget."""
    monkeypatch.setenv("SEGDEPLOY_FILE_BUDGET", "10MB")
    path = tmp_path / "a.png"
    path.symlink_to("/dev/zero")

    with pytest.raises(DataError, match="a file of 11534336 bytes"):
        read_image(path)


@pytest.mark.parametrize("read", [read_image, read_ids])
def test_users_raise_the_budget(tmp_path, monkeypatch, read):
    """The message says how; masks take less memory for a pixel."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("L", (640, 480)), "PNG"))
    monkeypatch.setenv("SEGDEPLOY_FILE_BUDGET", "1MB")

    with pytest.raises(DataError, match=r"640 x 480 pixels .* SEGDEPLOY_FILE_BUDGET=1GB"):
        read(path)

    monkeypatch.setenv("SEGDEPLOY_FILE_BUDGET", "1GB")
    assert read(path).shape[:2] == (480, 640)


@pytest.mark.parametrize(("extension", "side"), [("jpg", 65_501), ("png", 1_000_001)])
def test_an_image_too_large_for_its_format_is_reported(tmp_path, extension, side):
    """Panoramas are; nothing is written in their place."""
    with pytest.raises(OutputError, match=f"an image of {side} x 1 pixels cannot be written"):
        write_image(tmp_path / f"a.{extension}", np.zeros((1, side, 3), np.uint8))

    assert not list(tmp_path.iterdir())


def test_an_image_as_long_as_no_camera_takes_is_read(tmp_path):
    """OpenCV refuses sides beyond a million, which Pillow decodes."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("RGB", (1_048_577, 1), (1, 2, 3)), "PNG"))

    assert (read_image(path) == (3, 2, 1)).all()
