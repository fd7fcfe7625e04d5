"""Where images and their masks come from: one file a format, one registry."""

from segdeploy.arrays import Image
from segdeploy.datasets.dataset import Dataset, Sample, fingerprint
from segdeploy.datasets.registry import layout, load, names, register

__all__ = ["Dataset", "Image", "Sample", "fingerprint", "layout", "load", "names", "register"]
