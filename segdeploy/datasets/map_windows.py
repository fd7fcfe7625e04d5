"""Maps with their labels, cut into windows that are split by place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segdeploy.arrays import IGNORE_INDEX, Mask
from segdeploy.card import COLORS, IMAGENET_MEAN, IMAGENET_STD, InputSpec, LabelClass
from segdeploy.datasets.annotations import background_of
from segdeploy.datasets.class_map import CLASS_MAP_FILE, ClassMap, read_class_map
from segdeploy.datasets.dataset import LargeSample, Sample
from segdeploy.datasets.index import BY_FOLDER, find_files
from segdeploy.datasets.map_labels import VECTORS, Grid, RasterLabels, VectorLabels
from segdeploy.datasets.mask_formats import id_table
from segdeploy.datasets.split import HELD_OUT, SEED, held_out
from segdeploy.errors import DataError
from segdeploy.imaging.bands import BandSelection, StoredBands
from segdeploy.imaging.raster import Raster, convert

NEEDS = (
    f"the layout is {CLASS_MAP_FILE}, images/, and masks/, labels/, or labels.gpkg, inside the"
    " folder named by --data, or in train/ and val/ in it"
)

WINDOW = 512
"""About the side of a window, in pixels."""

BLOCK = 4
"""Sides of the blocks of windows that one split gets together, in windows."""

FEW_BLOCKS = 5
"""With fewer, smaller blocks are drawn."""

FAR = 1e7
"""Rows between two maps without a place."""

ANY = InputSpec(
    height=WINDOW, width=WINDOW, mean=(0.0,), std=(1.0,), channels=("any",), dtype="float32"
)
"""How a map is opened whose bands do not matter."""

Labels = RasterLabels | VectorLabels
Boxes = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A map and its labels.

    Attributes:
        name: Name of its file, without ending.
        image: Its file.
        labels: What says where the classes are.
    """

    name: str
    image: Path
    labels: Labels


@dataclass(frozen=True, kw_only=True)
class MapWindow:
    """A window of a scene.

    Attributes:
        scene: Index of the scene.
        grid: Where it lies.
    """

    scene: int
    grid: Grid


@dataclass(frozen=True, kw_only=True)
class MapDataset:
    """One split of windows, as a `Dataset`.

    Attributes:
        classes: Classes in the order of the masks' indices.
        scenes: The maps.
        windows: The windows of the split.
        rule: Description of how the dataset was split.
        spec: How images are read.
    """

    classes: tuple[LabelClass, ...]
    scenes: tuple[Scene, ...]
    windows: tuple[MapWindow, ...]
    rule: str
    spec: InputSpec

    @property
    def names(self) -> Sequence[str]:
        """Name of each window: its scene, first row and first column."""
        return [
            f"{self.scenes[one.scene].name}-{one.grid.row}-{one.grid.column}"
            for one in self.windows
        ]

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.windows)

    def __getitem__(self, index: int) -> Sample:
        """Read a window and its labels; pixels without data are not labeled.

        Raises:
            DataError: One of them cannot be read.
        """
        scene, grid = self.scenes[self.windows[index].scene], self.windows[index].grid
        image, valid = Raster(scene.image, self.spec).window(
            grid.row, grid.column, height=grid.height, width=grid.width
        )
        mask = scene.labels.read(grid)
        if valid is not None:
            mask[~valid] = IGNORE_INDEX
        return Sample(image=image, mask=mask, name=self.names[index])

    def stored(self, index: int) -> StoredBands:
        """Return all bands of a window; see `BandDataset`."""
        scene, grid = self.scenes[self.windows[index].scene], self.windows[index].grid
        return Raster(scene.image, ANY).stored(
            grid.row, grid.column, height=grid.height, width=grid.width
        )

    def with_bands(self, selection: BandSelection) -> "MapDataset":
        """Return the dataset with images of other bands; see `BandDataset`."""
        return replace(self, spec=_spec(selection))

    def large_samples(self) -> Iterator[LargeSample]:
        """Yield each scene, labeled where its windows are of this split."""
        for index, scene in enumerate(self.scenes):
            windows = [one.grid for one in self.windows if one.scene == index]
            if windows:
                yield LargeSample(
                    name=scene.name,
                    image=scene.image,
                    size=windows[0].size,
                    labels=_RowLabels(labels=scene.labels, windows=tuple(windows)),
                )


@dataclass(frozen=True, kw_only=True)
class _RowLabels:
    """The labels of some rows of a scene, 255 outside some windows."""

    labels: Labels
    windows: tuple[Grid, ...]

    def __call__(self, row: int, count: int) -> Mask:
        first = self.windows[0]
        mask = np.full((count, first.size[1]), IGNORE_INDEX, np.uint8)
        for grid in self.windows:
            top, bottom = max(row, grid.row), min(row + count, grid.row + grid.height)
            if top < bottom:
                part = replace(grid, row=top, height=bottom - top)
                target = slice(grid.column, grid.column + grid.width)
                mask[top - row : bottom - row, target] = self.labels.read(part)
        return mask


def open_windows(data: Path, split: str, *, window: int = WINDOW) -> MapDataset:
    """Open a split of the layout "geotiff".

    Args:
        data: Folder of the dataset.
        split: "train", "val" or "test".
        window: About the side of a window, in pixels; windows of a map are of equal sizes.

    Raises:
        DataError: Files are missing or cannot be read.
    """
    class_map = read_class_map(data / CLASS_MAP_FILE)
    divided = (data / "train" / "images").is_dir() or split == "test"
    scenes = _scenes(data / split if divided else data, class_map)
    spec = _spec(BandSelection(channels=COLORS, dtype="uint8"))
    windows = [
        MapWindow(scene=index, grid=grid)
        for index, scene in enumerate(scenes)
        for grid in _grids(scene.image, window)
    ]
    rule = BY_FOLDER
    if not divided:
        windows, rule = _drawn(windows, split)
    return MapDataset(
        classes=class_map.classes,
        scenes=tuple(scenes),
        windows=tuple(windows),
        rule=rule,
        spec=spec,
    )


def _spec(selection: BandSelection) -> InputSpec:
    """Return how windows of these bands are read; a pixel without data has the middle color."""
    count = len(selection.channels)
    plain = selection.is_color and selection.dtype == "uint8"
    return InputSpec(
        height=WINDOW,
        width=WINDOW,
        mean=IMAGENET_MEAN if plain else (0.5,) * count,
        std=IMAGENET_STD if plain else (1.0,) * count,
        channels=selection.channels,
        dtype=selection.dtype,
        bands=selection.numbers,
    )


def _scenes(folder: Path, class_map: ClassMap) -> list[Scene]:
    """Return the maps in a folder with their labels.

    Raises:
        DataError: One has no labels.
    """
    images = find_files(folder / "images", (".tif", ".tiff"), needs=NEEDS)
    if class_map.colors:
        msg = f"{CLASS_MAP_FILE} gives colors of masks, and maps hold ids; give each class an id"
        raise DataError(msg)
    return [
        Scene(name=name, image=path, labels=_labels(folder, name, class_map))
        for name, path in images.items()
    ]


def _labels(folder: Path, name: str, class_map: ClassMap) -> Labels:
    """Return the labels of a map: its own raster, its own polygons, or the polygons of all."""
    for ending in (".tif", ".tiff"):
        if (path := folder / "masks" / f"{name}{ending}").is_file():
            return RasterLabels(path=path, table=id_table(class_map.ids, ignored=()))
    for stem in (folder / "labels" / name, folder / "labels"):
        for ending in VECTORS:
            if (path := stem.with_name(f"{stem.name}{ending}")).is_file():
                return VectorLabels(
                    path=path, classes=class_map.labels, background=background_of(class_map)
                )
    msg = f"images/{name} in {folder} has no labels; {NEEDS}"
    raise DataError(msg)


def _grids(path: Path, window: int) -> Iterator[Grid]:
    """Yield the windows of a map: of equal sizes, which share no pixel and leave none out."""
    raster = Raster(path, ANY)
    rows, columns = (
        np.linspace(0, side, max(1, round(side / window)) + 1).round().astype(int).tolist()
        for side in (raster.height, raster.width)
    )
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield Grid(
                place=raster.place,
                size=(raster.height, raster.width),
                row=top,
                column=left,
                height=bottom - top,
                width=right - left,
            )


def _drawn(windows: Sequence[MapWindow], split: str) -> tuple[list[MapWindow], str]:
    """Return the windows of a split that is drawn by place, and a description of the rule.

    The ground is divided into blocks, whichever map shows it, and windows belong to the block of
    their middle. What is left of "train" near "val" shows none of its ground.

    Raises:
        DataError: All windows are in one block.
    """
    boxes = _boxes(windows)
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, np.median(boxes[:, 2:] - boxes[:, :2], 0)
    for block in (BLOCK, BLOCK // 2, 1):
        numbers = np.floor(middles / (block * sides) + 1e-6).astype(np.int64)
        groups = [f"{x} {y}" for x, y in numbers.tolist()]
        if len(set(groups)) >= FEW_BLOCKS:
            break
    drawn = held_out(groups)
    in_val = np.array([group in drawn for group in groups])
    kept = in_val if split == "val" else ~in_val & ~_overlap(boxes, boxes[in_val])
    rule = (
        f"{HELD_OUT:.0%} of the blocks of {block} x {block} windows are val, drawn by SHA-256 with"
        f" seed {SEED}"
    )
    return [one for one, is_kept in zip(windows, kept.tolist(), strict=True) if is_kept], rule


def _boxes(windows: Sequence[MapWindow]) -> Boxes:
    """Return the ground of each window: west, south, east, north, in one reference system.

    A map without a place has a row of its own, far from all others.
    """
    crs = next((one.grid.place.crs for one in windows if one.grid.place), "")
    boxes = np.empty((len(windows), 4))
    for at, window in enumerate(windows):
        grid = window.grid
        columns = np.array([0, grid.width, grid.width, 0], np.float64) + grid.column
        rows = np.array([0, 0, grid.height, grid.height], np.float64) + grid.row
        if grid.place is None:
            x, y = columns, rows + window.scene * FAR
        else:
            x, y = convert(grid.place, columns, rows, crs if grid.place.crs else "")
        boxes[at] = x.min(), y.min(), x.max(), y.max()
    return boxes


def _overlap(boxes: Boxes, others: Boxes) -> npt.NDArray[np.bool_]:
    """Return which boxes share ground with one of the others, by more than their edges."""
    margin = 1e-3 * (boxes[:, 2:] - boxes[:, :2])
    low, high = boxes[:, :2] + margin, boxes[:, 2:] - margin
    shared = np.zeros(len(boxes), np.bool_)
    for west, south, east, north in others.tolist():
        shared |= (low < (east, north)).all(axis=1) & (high > (west, south)).all(axis=1)
    return shared
