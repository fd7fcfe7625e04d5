"""Where pictures and their truth come from: one file a layout, one registry."""

from segdeploy.datasets import camvid, streets
from segdeploy.datasets.registry import load, names, register
from segdeploy.datasets.sample import Dataset, Sample, fingerprint
from segdeploy.pictures import Picture

__all__ = ["Dataset", "Picture", "Sample", "camvid", "fingerprint", "load", "names", "register", "streets"]
