"""From a network to candidates, by the name of the format."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from segdeploy.backends.loading import KINDS, Kind
from segdeploy.card import ModelCard
from segdeploy.console import note
from segdeploy.errors import MissingExtraError
from segdeploy.models import Deployed

from .calibration import gather_calibration
from .evidence import Evidence
from .formats import FORMATS
from .making import Candidate, Search
from .order import LEAST, Order
from .trial import Judge

EXTRAS = {"onnx": "export", "onnxscript": "export", "openvino": "openvino", "nncf": "openvino"}
"""Extra that brings a library which only some formats need."""


def convert(name: str, network: Deployed, *, card: ModelCard, opset: int) -> tuple[Candidate, Kind]:
    """Convert a network to a format by its name, and tell what runs the file.

    Args:
        name: One of `FORMATS`.
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.
        opset: Version of ONNX's operators.

    Raises:
        ExportError: The network cannot be converted.
        MissingExtraError: A library of the format is not installed.
    """
    kind = KINDS[FORMATS[name].ending]
    if name in ("torchscript", "pt2"):
        return neighbour(f"to_{name}").convert(network, card), kind
    candidate = neighbour("to_onnx").convert(network, card, opset=opset)
    if name == "openvino":
        return neighbour("to_openvino").from_onnx(candidate, precision=card.precision), kind
    return neighbour("half").to_half(candidate) if card.precision == "fp16" else candidate, kind


def search_int8(
    name: str, network: Deployed, *, card: ModelCard, evidence: Evidence, order: Order, on_step: Callable[[str], None]
) -> tuple[Search, Kind]:
    """Prepare the search for the best file in 8 bits, and tell what runs it.

    Args:
        name: "onnx" or "openvino".
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.
        evidence: Pictures of the proof.
        order: What the file shall be.
        on_step: Called after each step of the search.

    Raises:
        ConfigError: Nothing tells what the network was trained on.
        DataError: The training split cannot be read.
        ExportError: The network cannot be converted.
        MissingExtraError: A library of the format is not installed.
    """
    calibration = gather_calibration(card, dataset=order.dataset, data=order.data, count=order.calibration_pictures)
    if len(calibration) < LEAST:
        note(f"{calibration.source} has {len(calibration)} pictures; a calibration is trusted from {LEAST} on")
    candidate, kind = convert(name, network, card=replace(card, precision="fp32"), opset=order.opset)
    module = neighbour({"onnx": "int8", "openvino": "openvino_int8"}[name])
    judge = Judge(calibration=calibration, evidence=evidence, max_miou_drop=order.max_miou_drop, on_step=on_step)
    search: Search = module.Search(candidate, card, judge)
    return search, kind


def neighbour(module: str) -> Any:  # noqa: ANN401 - the modules share functions, not a type
    """Import a module of this workshop that wraps a library, which is imported only for its own format.

    Raises:
        MissingExtraError: The library is not installed.
    """
    try:
        return importlib.import_module(f".{module}", __package__)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        raise MissingExtraError(error.name, EXTRAS[error.name]) from error
