"""The model card: what a network is, how an image is fed to it, how it was trained and proven."""

from segdeploy.card.model_card import (
    CARD_KEY,
    CHECKSUM_KEY,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MAX_BYTES,
    MAX_CLASSES,
    MAX_SIDE,
    SCHEMA,
    SELF_TEST_KEY,
    Fit,
    InputSpec,
    LabelClass,
    ModelCard,
    Output,
    Resample,
    Training,
)

__all__ = [
    "CARD_KEY",
    "CHECKSUM_KEY",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MAX_BYTES",
    "MAX_CLASSES",
    "MAX_SIDE",
    "SCHEMA",
    "SELF_TEST_KEY",
    "Fit",
    "InputSpec",
    "LabelClass",
    "ModelCard",
    "Output",
    "Resample",
    "Training",
]
