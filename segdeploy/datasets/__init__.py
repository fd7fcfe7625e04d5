"""Datasets: samples of images and masks, read from files of many formats.

A plugin that adds a dataset needs no other module: it registers a `Layout` with `register_layout`
or a function with `register` (docs/datasets.md).
"""

from segdeploy.arrays import Image, Mask
from segdeploy.datasets.dataset import Dataset, Sample, evenly_spaced, fingerprint
from segdeploy.datasets.index import (
    DatasetIndex,
    Layout,
    MaskFormat,
    Pair,
    find_below,
    find_files,
    match,
    without_mask,
)
from segdeploy.datasets.mask_formats import Binary, Colors, Ids, RedChannel, RightHalf, id_table
from segdeploy.datasets.registry import (
    layout,
    layouts,
    load,
    names,
    register,
    register_layout,
)
from segdeploy.datasets.split import draw_split

__all__ = [
    "Binary",
    "Colors",
    "Dataset",
    "DatasetIndex",
    "Ids",
    "Image",
    "Layout",
    "Mask",
    "MaskFormat",
    "Pair",
    "RedChannel",
    "RightHalf",
    "Sample",
    "draw_split",
    "evenly_spaced",
    "find_below",
    "find_files",
    "fingerprint",
    "id_table",
    "layout",
    "layouts",
    "load",
    "match",
    "names",
    "register",
    "register_layout",
    "without_mask",
]
