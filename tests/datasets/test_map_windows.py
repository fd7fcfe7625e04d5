"""Windows of maps: labels from any raster or polygons, and splits that share no ground."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import shapely

pytest.importorskip("rasterio")
pytest.importorskip("pyogrio")

from affine import Affine

from segdeploy.datasets.map_windows import MapDataset, _boxes, open_windows
from segdeploy.datasets.registry import load
from segdeploy.errors import ConfigError, DataError, LayoutNotFoundError
from segdeploy.imaging.bands import BandSelection
from segdeploy.imaging.map_polygons import write_polygons
from segdeploy.imaging.raster import Place
from tests.helpers.cards import make_classes
from tests.helpers.maps import PLACE, blobs, write_map

NAMES = ("water", "field", "town")
CLASSES = "".join(f'[[classes]]\nname = "{name}"\n' for name in NAMES)
UTM = Place(crs="EPSG:32632", transform=PLACE)


def small(folder: Path, split: str) -> MapDataset:
    """Return a split of windows of 32 pixels, so that small maps have many."""
    return open_windows(folder, split, window=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One map without labels, whose colors are its classes."""
    (tmp_path / "classes.toml").write_text(CLASSES)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "labels").mkdir()
    write_map(tmp_path / "images" / "a.tif", as_colors(blobs(200, 240, 3)))
    return tmp_path


def as_colors(mask: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=np.uint8)[np.minimum(mask, 2)] * 100 + 50


def whole(folder: Path) -> np.ndarray:
    """Return the labels of all windows of the only map, put together."""
    mask = np.full((200, 240), 254, np.uint8)
    for split in ("train", "val"):
        samples = small(folder, split)
        for index, window in enumerate(samples.windows):
            grid, sample = window.grid, samples[index]
            rows, columns = (
                slice(grid.row, grid.row + grid.height),
                slice(grid.column, grid.column + grid.width),
            )
            mask[rows, columns] = sample.mask
            assert sample.image.shape == (grid.height, grid.width, 3)
            assert (
                sample.image[:, :, ::-1].argmax(axis=2) == blobs(200, 240, 3)[rows, columns]
            ).all()
    return mask


@pytest.mark.parametrize("kind", ["raster", "gpkg", "geojson", "degrees", "all"])
def test_labels_lie_where_the_map_does(folder: Path, kind: str) -> None:
    """Each window once, in train or val; from ids, or polygons in any reference system."""
    mask = blobs(200, 240, 3)
    if kind == "raster":
        write_map(folder / "masks" / "a.tif", mask[:, :, None])
    else:
        name = {"all": "labels.gpkg", "degrees": "labels/a.geojson"}.get(kind, f"labels/a.{kind}")
        crs = "EPSG:4326" if kind == "degrees" else ""
        write_polygons(folder / name, mask, UTM, classes=make_classes(*NAMES), crs=crs)

    np.testing.assert_array_equal(whole(folder), mask)


def test_labels_on_another_grid_are_warped(folder: Path) -> None:
    """A raster of twice the pixels that begins elsewhere; beside it nothing is labeled."""
    fine = np.repeat(np.repeat(blobs(200, 240, 3), 2, axis=0), 2, axis=1)[100:, 60:]
    transform = Affine(5, 0, 500000 + 60 * 5, 0, -5, 5000000 - 100 * 5)
    write_map(folder / "masks" / "a.tif", fine[:, :, None], transform=transform)

    mask = whole(folder)

    assert (mask[:50] == 255).all()
    assert (mask[:, :30] == 255).all()
    np.testing.assert_array_equal(mask[50:, 30:], blobs(200, 240, 3)[50:, 30:])


def test_splits_share_no_ground(folder: Path) -> None:
    """Not even where two maps of different grids show the same place."""
    for name, shift in (("b", 137), ("c", 555)):
        transform = Affine(10, 0, 500000 + shift, 0, -10, 5000000 - shift)
        write_map(
            folder / "images" / f"{name}.tif", np.ones((200, 240, 3), np.uint8), transform=transform
        )
    write_polygons(folder / "labels.gpkg", blobs(200, 240, 3), UTM, classes=make_classes(*NAMES))

    ground = {}
    for split in ("train", "val"):
        samples = small(folder, split)
        boxes = _boxes(samples.windows)
        ground[split] = shapely.union_all(shapely.box(*boxes.T))
        assert 10 < len(samples) < 100
        assert len(set(samples.names)) == len(samples)

    assert shapely.area(shapely.intersection(*ground.values())) < 1e-6
    assert 0.05 < shapely.area(ground["val"]) / shapely.area(ground["train"]) < 1.5


def test_pixels_without_data_are_not_labeled(folder: Path) -> None:
    """And a dataset can be sent to a worker process."""
    pixels = as_colors(blobs(200, 240, 3))
    pixels[:40, :50] = 0
    write_map(folder / "images" / "a.tif", pixels, nodata=0)
    write_map(folder / "masks" / "a.tif", blobs(200, 240, 3)[:, :, None])

    counts = [
        int((sample.mask == 255).sum())
        for split in ("train", "val")
        for samples in [pickle.loads(pickle.dumps(small(folder, split)))]
        for sample in map(samples.__getitem__, range(len(samples)))
    ]

    assert sum(counts) == 40 * 50


def test_large_maps_are_labeled_where_their_windows_are(folder: Path) -> None:
    """Scores over a whole map count the split's own ground only."""
    mask = blobs(1100, 1100, 3)
    write_map(folder / "images" / "a.tif", as_colors(mask))
    write_map(folder / "masks" / "a.tif", mask[:, :, None])
    together = np.zeros(mask.shape, int)
    for split in ("train", "val"):
        (sample,) = load("geotiff", folder, split).large_samples()  # type: ignore[attr-defined]
        rows = np.concatenate([sample.labels(row, 55) for row in range(0, 1100, 55)])
        labeled = rows != 255
        np.testing.assert_array_equal(rows[labeled], mask[labeled])
        together += labeled

    assert (together == 1).all()


def test_other_bands_keep_their_numbers(folder: Path) -> None:
    """As the network's card names them."""
    pixels = np.random.default_rng(0).integers(0, 60000, (200, 240, 5)).astype(np.uint16)
    write_map(folder / "images" / "a.tif", pixels, photometric="minisblack")
    (folder / "images" / "b.tif").write_bytes((folder / "images" / "a.tif").read_bytes())
    write_map(folder / "masks" / "a.tif", blobs(200, 240, 3)[:, :, None])
    (folder / "masks" / "b.tif").write_bytes((folder / "masks" / "a.tif").read_bytes())
    for name in ("train", "val"):
        (folder / name).mkdir()
        for side in ("images", "masks"):
            (folder / name / side).symlink_to(folder / side)

    samples = load("geotiff", folder, "val")

    selected = samples.with_bands(  # type: ignore[attr-defined]
        BandSelection(channels=("x", "y"), dtype="uint16", numbers=(5, 2))
    )
    np.testing.assert_array_equal(selected[0].image, pixels[:, :, [4, 1]])
    np.testing.assert_array_equal(samples.stored(1).pixels, pixels)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: None, "has no labels"),
        (
            lambda folder: (folder / "labels.geojson").write_text("<OGRVRTDataSource/>"),
            "GeoPackage",
        ),
        (lambda folder: (folder / "labels.gpkg").write_bytes(b"SQLite format 3\0"), "be read"),
        (
            lambda folder: (folder / "labels.geojson").write_text(
                json.dumps({"type": "FeatureCollection", "features": [feature("forest")]})
            ),
            "'forest' belongs to no class",
        ),
        (
            lambda folder: write_map(
                folder / "masks" / "a.tif", np.full((200, 240, 1), 9, np.uint8)
            ),
            "holds the id 9",
        ),
        (
            lambda folder: write_map(folder / "masks" / "a.tif", np.ones((200, 240, 3), np.uint8)),
            "holds 3 bands",
        ),
    ],
)
def test_wrong_files_are_refused(folder: Path, change: object, sentence: str) -> None:
    """One sentence each."""
    change(folder)  # type: ignore[operator]

    with pytest.raises(DataError, match=sentence):
        read_all(folder)


def read_all(folder: Path) -> None:
    """Read the only window of a folder, as a split of its own."""
    for name in ("images", "masks", "labels"):
        (folder / "train").mkdir(exist_ok=True)
        (folder / name).rename(folder / "train" / name)
    for path in folder.glob("labels.*"):
        path.rename(folder / "train" / path.name)
    load("geotiff", folder, "train")[0]


def feature(label: str) -> dict[str, object]:
    """Return a polygon over the whole map, in the file's default system."""
    ring = [[8, 44], [11, 44], [11, 46], [8, 46], [8, 44]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "properties": {"label": label}, "geometry": geometry}


def test_folder_and_split_are_needed(folder: Path) -> None:
    """One sentence each."""
    with pytest.raises(ConfigError, match="--data"):
        load("geotiff", None, "train")
    with pytest.raises(ConfigError, match="no split 'other'"):
        load("geotiff", folder, "other")
    with pytest.raises(LayoutNotFoundError, match="the layout is"):
        load("geotiff", folder, "test")
