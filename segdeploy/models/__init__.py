"""Networks: a registry, their parts, and what puts normalization in front of any of them."""

from segdeploy.models import bisenetv2, ddrnet, deeplabv3plus, fastscnn, lightfpn, pidnet, regseg, unet
from segdeploy.models.backbone import load_backbone
from segdeploy.models.deployed import Deployed
from segdeploy.models.registry import build, names, register

__all__ = [
    "Deployed",
    "bisenetv2",
    "build",
    "ddrnet",
    "deeplabv3plus",
    "fastscnn",
    "lightfpn",
    "load_backbone",
    "names",
    "pidnet",
    "register",
    "regseg",
    "unet",
]
