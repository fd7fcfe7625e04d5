"""Maps (GeoTIFF) with labels as rasters or polygons, cut into windows that are split by place.

On disk: classes.toml, images/NAME.tif, and for each image masks/NAME.tif (ids) or labels/NAME.gpkg
or .geojson (polygons); or labels.gpkg or labels.geojson with the polygons of all. They may lie in
train/ and val/; where they do not, a fifth of the places becomes the validation split.
"""

from pathlib import Path

from segdeploy.datasets.dataset import Dataset
from segdeploy.datasets.registry import register
from segdeploy.errors import ConfigError

NAME = "geotiff"
SPLITS = ("train", "val", "test")


@register(NAME)
def open_maps(data: Path | None, split: str) -> Dataset:
    """Open a split of maps.

    Raises:
        ConfigError: No folder was named, or there is no such split.
        DataError: Files are missing or cannot be read.
        MissingExtraError: The libraries for maps are not installed.
    """
    if data is None:
        msg = f"the dataset {NAME!r} lies in a folder; name it with --data"
        raise ConfigError(msg)
    if split not in SPLITS:
        msg = f"the dataset {NAME!r} has no split {split!r}; choose one of {', '.join(SPLITS)}"
        raise ConfigError(msg)
    # All layouts are imported to find out which one a folder has.
    from segdeploy.datasets.map_windows import open_windows

    return open_windows(data, split)
