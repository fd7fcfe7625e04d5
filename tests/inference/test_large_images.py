"""Large images become files: maps keep their place and their gaps, and runs are resumed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rasterio")
pytest.importorskip("pyogrio")

from segdeploy.errors import DataError, InterruptedRun
from segdeploy.imaging.overlay import Renderer, colorize
from segdeploy.imaging.postprocess import planes_to_confidence
from segdeploy.inference.large_images import KINDS, LargeJob, open_rows, segment_large, segmented
from segdeploy.inference.tiling import Tiler
from tests.helpers.backends import ChannelBackend
from tests.helpers.cards import make_card
from tests.helpers.maps import info, rasterized, read_map, write_map

CARD = make_card(48, 48, classes=("red", "green", "blue"), dynamic=True, mean=(0.5, 0.5, 0.5))
SUFFIXES = {"geojson": "geojson", "gpkg": "gpkg", "areas": "json"}


def job(**changes: object) -> LargeJob:
    """Return a job whose network takes the strongest color for the class."""
    tiler = Tiler(ChannelBackend(CARD), height=48, width=48, overlap=12, confidence=True)
    made = LargeJob(tiler=tiler, renderer=Renderer(CARD.classes, ("overlay",), legend=False))
    return replace(made, **changes)


def targets_in(folder: Path, kinds: tuple[str, ...] = KINDS) -> dict[str, Path]:
    return {kind: folder / kind / f"a.{SUFFIXES.get(kind, 'tif')}" for kind in kinds}


def scene(path: Path, *, fill: int = 0, **profile: object) -> tuple[np.ndarray, np.ndarray]:
    """Write a map of blocks of color with a gap, and return its pixels and where it has data."""
    random = np.random.default_rng(0)
    colors = random.integers(1, 255, (20, 25, 3), dtype=np.uint8)
    pixels = np.repeat(np.repeat(colors, 8, axis=0), 8, axis=1)
    valid = np.ones(pixels.shape[:2], np.bool_)
    valid[20:75, 50:111] = False
    pixels[~valid] = fill
    write_map(path, pixels, nodata=fill, **profile)
    return pixels, valid


def test_results_keep_the_place_and_the_gaps(tmp_path: Path) -> None:
    """As Debian's GDAL sees them: system, grid, no data, and polygons that are the class map."""
    pixels, valid = scene(tmp_path / "a.tif")
    targets = targets_in(tmp_path / "out")

    segment_large(tmp_path / "a.tif", targets, job())

    expected = np.where(valid, pixels.argmax(axis=2), 255)
    mask = read_map(targets["mask"])[:, :, 0]
    np.testing.assert_array_equal(mask, expected)
    source = info(tmp_path / "a.tif")
    for kind, nodata in (("mask", 255), ("confidence", 0), ("overlay", None), ("color", None)):
        seen = info(targets[kind])
        assert seen["geoTransform"] == source["geoTransform"]
        assert seen["coordinateSystem"] == source["coordinateSystem"]
        assert seen["bands"][0].get("noDataValue") == nodata
        assert seen["size"] == source["size"]
    color = read_map(targets["color"])
    np.testing.assert_array_equal(color[:, :, 3], np.where(valid, 255, 0))
    np.testing.assert_array_equal(color[:, :, 2::-1], colorize(mask, CARD.classes))
    confidence = read_map(targets["confidence"])[:, :, 0]
    logits = np.ascontiguousarray(pixels.transpose(2, 0, 1).astype(np.float32))
    known = planes_to_confidence(logits, kind="logits")
    np.testing.assert_array_equal(confidence, np.where(valid, known, 0))
    for kind in ("gpkg", "geojson"):
        back = rasterized(targets[kind], *mask.shape, tmp_path / "b.tif")
        np.testing.assert_array_equal(back, mask)
    areas = json.loads(targets["areas"].read_text())
    assert [one["pixels"] for one in areas["classes"]] == np.bincount(mask[valid]).tolist()
    files = {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == set(targets.values())


def test_gaps_do_not_bleed(tmp_path: Path) -> None:
    """Whatever number stands for no data, the network sees the same, here by blurred tiles."""
    card = make_card(24, 24, classes=("red", "green", "blue"))
    tiler = Tiler(ChannelBackend(card), height=48, width=48, overlap=12)
    masks = []
    for fill in (0, 255):
        path = tmp_path / f"{fill}.tif"
        scene(path, fill=fill)
        strips = segmented(open_rows(path, tiler.spec), tiler)
        masks.append(np.concatenate([strip.mask for strip in strips]))

    np.testing.assert_array_equal(*masks)


def stop_after(count: int) -> Callable[[], bool]:
    """Return a function that returns True from the given call on."""
    calls = iter([False] * count)
    return lambda: next(calls, True)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_resumed_run_is_one_that_was_not_interrupted(tmp_path: Path, rows: int) -> None:
    """Byte for byte, and rows that were finished are not segmented again, but for the last."""
    scene(tmp_path / "a.tif")
    kinds = ("mask", "confidence", "overlay", "gpkg")
    whole, resumed = (targets_in(tmp_path / name, kinds) for name in ("whole", "resumed"))
    segment_large(tmp_path / "a.tif", whole, job())
    with pytest.raises(InterruptedRun, match="continue with --resume"):
        segment_large(tmp_path / "a.tif", resumed, job(should_stop=stop_after(rows)))
    assert not any(path.exists() for path in resumed.values())
    seen: list[int] = []

    segment_large(
        tmp_path / "a.tif", resumed, job(resume=True), on_step=lambda done, _: seen.append(done)
    )

    assert len(seen) == 5 - rows
    assert seen[-1] == 160
    for kind in ("mask", "confidence", "overlay"):
        assert whole[kind].read_bytes() == resumed[kind].read_bytes()
    files = {path for path in (tmp_path / "resumed").rglob("*") if path.is_file()}
    assert files == set(resumed.values())


@pytest.mark.parametrize("changes", [{"settings": "other", "resume": True}, {"settings": "one"}])
def test_other_settings_begin_anew(tmp_path: Path, changes: dict[str, object]) -> None:
    """Rows of another network must not be mixed in; a run without --resume keeps nothing."""
    scene(tmp_path / "a.tif")
    targets = targets_in(tmp_path, ("mask",))
    with pytest.raises(InterruptedRun):
        segment_large(tmp_path / "a.tif", targets, job(settings="one", should_stop=stop_after(2)))
    seen: list[int] = []

    segment_large(
        tmp_path / "a.tif", targets, job(**changes), on_step=lambda done, _: seen.append(done)
    )

    assert len(seen) == 5


def test_finished_images_are_not_segmented_again(tmp_path: Path) -> None:
    """With --resume only."""
    scene(tmp_path / "a.tif")
    targets = targets_in(tmp_path, ("mask",))
    segment_large(tmp_path / "a.tif", targets, job())
    written = targets["mask"].stat().st_mtime_ns

    segment_large(tmp_path / "a.tif", targets, job(resume=True))

    assert targets["mask"].stat().st_mtime_ns == written


def test_an_image_without_place_has_no_polygons(tmp_path: Path) -> None:
    """One sentence, and no file."""
    write_map(tmp_path / "a.tif", np.ones((60, 70, 3), np.uint8), crs=None, transform=None)

    with pytest.raises(DataError, match="has no place on earth, which gpkg need"):
        segment_large(tmp_path / "a.tif", targets_in(tmp_path / "out", ("mask", "gpkg")), job())

    assert not (tmp_path / "out").exists()
