"""The model card: what a network is, how an image is fed to it, how it was trained and proven."""

from segdeploy.card.model_card import (
    ANSWER_KEY,
    CARD_KEY,
    CHECKSUM_KEY,
    MAX_BYTES,
    MAX_CLASSES,
    MAX_SIDE,
    SCHEMA,
    Fit,
    InputSpec,
    LabelClass,
    ModelCard,
    Output,
    Training,
)

__all__ = [
    "ANSWER_KEY",
    "CARD_KEY",
    "CHECKSUM_KEY",
    "MAX_BYTES",
    "MAX_CLASSES",
    "MAX_SIDE",
    "SCHEMA",
    "Fit",
    "InputSpec",
    "LabelClass",
    "ModelCard",
    "Output",
    "Training",
]
