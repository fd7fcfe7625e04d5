"""Encoders: networks that were made to classify, as givers of features at several sizes."""

from segdeploy.models.encoders.encoder import NAMES, Encoder, build_encoder

__all__ = ["NAMES", "Encoder", "build_encoder"]
