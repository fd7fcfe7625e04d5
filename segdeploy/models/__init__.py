"""Networks: a registry, their blocks, checkpoints, and normalization in front of any of them."""

from segdeploy.models.deployed import Deployed
from segdeploy.models.registry import build, names, register

__all__ = ["Deployed", "build", "names", "register"]
