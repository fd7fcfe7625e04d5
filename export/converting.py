"""From a network to candidates, by the name of the format."""

from collections.abc import Callable
from dataclasses import replace

from segdeploy.backends.loading import KINDS, Kind
from segdeploy.card import ModelCard
from segdeploy.console import note
from segdeploy.models import Deployed

from . import to_torchscript
from .calibration import gather_calibration
from .evidence import Evidence
from .making import Candidate, Search
from .order import LEAST, Order


def convert(name: str, network: Deployed, *, card: ModelCard, opset: int) -> tuple[Candidate, Kind]:
    """Convert a network to a format by its name, and tell what runs the file.

    Args:
        name: "onnx" or "torchscript".
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.
        opset: Version of ONNX's operators.

    Raises:
        ExportError: The network cannot be converted.
    """
    if name == "torchscript":
        return to_torchscript.convert(network, card), KINDS[".torchscript"]
    # ONNX's library is imported only for its own format.
    from . import to_onnx

    return to_onnx.convert(network, card, opset=opset), KINDS[".onnx"]


def search_int8(
    network: Deployed, *, card: ModelCard, evidence: Evidence, order: Order, on_step: Callable[[str], None]
) -> tuple[Search, Kind]:
    """Prepare the search for the best file in 8 bits, and tell what runs it.

    Args:
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.
        evidence: Pictures of the proof.
        order: What the file shall be.
        on_step: Called after each step of the search.

    Raises:
        ConfigError: Nothing tells what the network was trained on.
        DataError: The training split cannot be read.
        ExportError: The network cannot be converted.
    """
    calibration = gather_calibration(card, dataset=order.dataset, data=order.data, count=order.calibration_pictures)
    if len(calibration) < LEAST:
        note(f"{calibration.source} has {len(calibration)} pictures; a calibration is trusted from {LEAST} on")
    from . import int8, to_onnx

    candidate = to_onnx.convert(network, replace(card, precision="fp32"), opset=order.opset)
    budget = order.max_miou_drop
    search = int8.Search(candidate, card, calibration=calibration, evidence=evidence, max_miou_drop=budget, on_step=on_step)
    return search, KINDS[".onnx"]
