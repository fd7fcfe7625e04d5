"""Where pictures and their truth come from: one file a layout, one registry."""

from segdeploy.datasets import ade20k, camvid, carla, carvana, cityscapes, coco, folder, idd_lite, labelme, streets
from segdeploy.datasets.registry import layout, load, names, register
from segdeploy.datasets.sample import Dataset, Sample, fingerprint
from segdeploy.pictures import Picture

__all__ = [
    "Dataset",
    "Picture",
    "Sample",
    "ade20k",
    "camvid",
    "carla",
    "carvana",
    "cityscapes",
    "coco",
    "fingerprint",
    "folder",
    "idd_lite",
    "labelme",
    "layout",
    "load",
    "names",
    "register",
    "streets",
]
