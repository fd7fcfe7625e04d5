"""Networks: a registry, their parts, and what puts normalization in front of any of them."""

from segdeploy.models import bisenetv2, ddrnet, fastscnn, pidnet, regseg, unet
from segdeploy.models.deployed import Deployed
from segdeploy.models.registry import build, names, register

__all__ = ["Deployed", "bisenetv2", "build", "ddrnet", "fastscnn", "names", "pidnet", "register", "regseg", "unet"]
