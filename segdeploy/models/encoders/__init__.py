"""Encoders: classification networks without their classifier, as backbones."""

from segdeploy.models.encoders.encoder import NAMES, Encoder, build_encoder

__all__ = ["NAMES", "Encoder", "build_encoder"]
