"""Encoders: networks that were made to classify, as givers of features at several sizes."""

from segdeploy.models.encoders.building import NAMES, build_encoder
from segdeploy.models.encoders.encoder import Encoder

__all__ = ["NAMES", "Encoder", "build_encoder"]
