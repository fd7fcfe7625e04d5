"""Every band and bit of a file reaches the network, in order, and a hostile file does no harm."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image as PillowImage

from segdeploy.card import COLORS, InputSpec
from segdeploy.errors import DataError
from segdeploy.imaging.bands import (
    BandSelection,
    decode_bands,
    read_bands,
    read_stored,
    reader_for,
)
from segdeploy.imaging.io import read_image
from segdeploy.imaging.preprocess import resize, to_batch

NAMES = ("b1", "b2", "b3", "b4", "b5")
NUMBERS = np.random.default_rng(0).integers(0, 65536, (37, 51, 5), dtype=np.uint16)
SPEC = InputSpec(
    height=16, width=24, mean=(0.5,) * 5, std=(0.2,) * 5, channels=NAMES, dtype="uint16", fit="pad"
)
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"planarconfig": "contig", "rowsperstrip": 7},
    "tiles, LZW, predictor": {
        "planarconfig": "contig", "tile": (16, 16), "compression": "lzw", "predictor": 2
    },
    "deflate": {"planarconfig": "contig", "compression": "deflate", "predictor": True},
    "BigTIFF": {"planarconfig": "contig", "bigtiff": True},
    "big endian": {"planarconfig": "contig", "byteorder": ">"},
    "planes": {"planarconfig": "separate", "tile": (16, 16)},
    "pages": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def tifffile() -> Any:
    """Skip where the extra `tiff` is not installed."""
    pytest.importorskip("imagecodecs")
    return pytest.importorskip("tifffile")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiff_of_every_layout_has_all_bands_and_bits(
    layout: str, tmp_path: Path, tifffile: Any
) -> None:
    """GDAL, ImageJ and OpenCV arrange bands as samples, planes or pages."""
    samples_last = LAYOUTS[layout].get("planarconfig") == "contig"
    array = NUMBERS if samples_last else np.moveaxis(NUMBERS, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", **LAYOUTS[layout])

    stored = read_stored(tmp_path / "a.tif")

    assert stored.dtype == "uint16"
    np.testing.assert_array_equal(stored.pixels, NUMBERS)


def test_tiff_of_floats_with_a_predictor(tmp_path: Path, tifffile: Any) -> None:
    floats = (NUMBERS / 7).astype(np.float32)
    tifffile.imwrite(
        tmp_path / "a.tif", floats, photometric="minisblack", planarconfig="contig",
        compression="deflate", predictor=3,
    )  # fmt: skip

    np.testing.assert_array_equal(read_stored(tmp_path / "a.tif").pixels, floats)


def test_opacity_is_no_band_unless_asked(tmp_path: Path, tifffile: Any) -> None:
    """Most programs write it, and few networks were trained on it."""
    tifffile.imwrite(
        tmp_path / "a.tif", NUMBERS[..., :4], photometric="rgb", extrasamples=["unassalpha"]
    )
    cv2.imwrite(str(tmp_path / "a.png"), NUMBERS[..., [2, 1, 0, 3]])

    for name in ("a.tif", "a.png"):
        colors = read_bands(
            tmp_path / name, selection=BandSelection(channels=("x", "y", "z"), dtype="uint16")
        )
        asked = BandSelection(channels=("w", "x"), dtype="uint16", numbers=(4, 1))
        np.testing.assert_array_equal(colors, NUMBERS[..., :3])
        np.testing.assert_array_equal(
            read_bands(tmp_path / name, selection=asked), NUMBERS[..., [3, 0]]
        )


@pytest.mark.parametrize("bands", [1, 3])
def test_png_of_16_bits_keeps_them(bands: int, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), NUMBERS[..., :bands][..., ::-1])

    np.testing.assert_array_equal(read_stored(tmp_path / "a.png").pixels, NUMBERS[..., :bands])


def test_png_is_turned_upright_as_colors_are(tmp_path: Path) -> None:
    """A camera's orientation must not tell bands and colors apart."""
    colors = (NUMBERS[..., :3] >> 8).astype(np.uint8)
    for orientation in range(1, 9):
        exif = PillowImage.Exif()
        exif[274] = orientation
        PillowImage.fromarray(colors).save(tmp_path / "a.png", exif=exif)

        stored = read_stored(tmp_path / "a.png").pixels

        np.testing.assert_array_equal(stored, read_image(tmp_path / "a.png")[..., ::-1])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4"])
def test_numpy_array_is_read_in_any_order(order: Any, dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asarray(NUMBERS.astype(dtype), order=order))

    np.testing.assert_array_equal(read_stored(tmp_path / "a.npy").pixels, NUMBERS)


def test_numpy_file_of_objects_builds_none(tmp_path: Path) -> None:
    """A pickle runs code."""
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)

    with pytest.raises(DataError, match="holds object of the shape"):
        read_stored(tmp_path / "a.npy")


def test_folder_of_a_file_for_each_band_is_selected_by_name(tmp_path: Path) -> None:
    for index, name in enumerate(("B02", "B03", "B08")):
        cv2.imwrite(str(tmp_path / f"{name}.png"), NUMBERS[..., index])
    (tmp_path / "metadata.xml").write_text("<scene/>")

    image = read_bands(tmp_path, selection=BandSelection(channels=("B08", "B02"), dtype="uint16"))

    np.testing.assert_array_equal(image, NUMBERS[..., [2, 0]])


def test_bands_of_a_folder_must_be_of_one_size(tmp_path: Path) -> None:
    """Sentinel-2 has bands of 10, 20 and 60 m."""
    cv2.imwrite(str(tmp_path / "B02.png"), NUMBERS[..., 0])
    cv2.imwrite(str(tmp_path / "B05.png"), NUMBERS[::2, ::2, 0])

    with pytest.raises(DataError, match=r"B05\.png holds 1 bands of 26 x 19 pixels"):
        read_stored(tmp_path)


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (NUMBERS[..., :4], "4 bands, and the network takes 5"),
        (NUMBERS.astype(np.uint8), "holds uint8"),
        (NUMBERS.astype(np.int32) - 70000, "holds int32 from -6"),
    ],
)
def test_numbers_that_the_network_does_not_take_are_refused(
    array: Any, problem: str, tmp_path: Path
) -> None:
    """Wrong bands or numbers give a mask that looks right."""
    np.save(tmp_path / "a.npy", array)

    with pytest.raises(DataError, match=problem):
        reader_for(SPEC)(tmp_path / "a.npy")


def test_missing_band_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", NUMBERS)

    with pytest.raises(DataError, match="has 5 bands and no band 7"):
        reader_for(replace(SPEC, bands=(1, 2, 3, 4, 7)))(tmp_path / "a.npy")


def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path, tifffile: Any) -> None:
    """Whatever is cut off or flipped, the error is ours."""
    tifffile.imwrite(tmp_path / "a.tif", NUMBERS, photometric="minisblack", compression="lzw")
    cv2.imwrite(str(tmp_path / "a.png"), NUMBERS[..., 0])
    np.save(tmp_path / "a.npy", NUMBERS)
    random = np.random.default_rng(0)
    refused = 0

    for name in ("a.tif", "a.png", "a.npy"):
        whole = (tmp_path / name).read_bytes()
        for _ in range(30):
            content = bytearray(whole[: random.integers(4, len(whole))])
            content[random.integers(4, len(content)) :][:4] = b"\xff\xff\xff\xff"
            content[int(random.integers(3, min(90, len(content))))] ^= 0xFF
            try:
                decode_bands(bytes(content), name=name)
            except DataError:
                refused += 1

    assert refused > 70


def test_file_that_declares_more_than_its_budget_is_refused() -> None:
    header = b"\x93NUMPY\x01\x00\x76\x00"
    text = b"{'descr': '<u2', 'fortran_order': False, 'shape': (900000, 900000, 5), }"

    with pytest.raises(DataError, match="memory"):
        decode_bands(header + text.ljust(0x76), name="a.npy")


def test_slides_and_dicom_get_a_sentence(tifffile: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.svs", NUMBERS[..., 0], description="Aperio Image Library")

    with pytest.raises(DataError, match="microscope's slide"):
        read_stored(tmp_path / "a.svs")
    with pytest.raises(DataError, match="DICOM"):
        decode_bands(bytes(128) + b"DICM", name="a.dcm")


def test_color_images_of_16_bits_are_held_blue_first(tmp_path: Path) -> None:
    """As every color image; the batch is red first."""
    cv2.imwrite(str(tmp_path / "a.png"), NUMBERS[..., :3][..., ::-1])
    spec = replace(SPEC, channels=COLORS, mean=(0.5,) * 3, std=(0.2,) * 3, height=37, width=51)

    image = reader_for(spec)(tmp_path / "a.png")

    np.testing.assert_array_equal(image, NUMBERS[..., 2::-1])
    np.testing.assert_array_equal(to_batch([image], spec)[0], NUMBERS[..., :3])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 4, 5, 64])
def test_channels_are_resized_as_alone(channels: int, dtype: str) -> None:
    """OpenCV takes four for means of areas, drops the axis of one, and rounds two otherwise."""
    image = np.random.default_rng(0).integers(0, 255, (64, 96, channels)).astype(dtype)

    resized = resize(image, 14, width=20)

    assert resized.dtype == dtype
    for channel in range(channels):
        alone = resize(image[..., [channel] * 3], 14, width=20)[..., 0]
        np.testing.assert_allclose(resized[..., channel], alone, rtol=1e-5, atol=dtype != "float32")


def test_padding_is_neutral_and_numbers_that_are_none_do_not_spread() -> None:
    """0.5 of 65535, rounded; and NaN becomes the mean before neighbors are mixed with it."""
    batch = to_batch([NUMBERS], SPEC)
    floats = replace(SPEC, dtype="float32", mean=(3.0,) * 5)
    image = np.full((32, 48, 5), 3, np.float32)
    image[5, 7, 2] = np.nan

    assert (batch[0, :, 23] == 32768).all()
    assert (to_batch([image], floats) == 3).all()
