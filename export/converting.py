"""From a network to a candidate, by the name of the format."""

from segdeploy.backends.loading import KINDS, Kind
from segdeploy.card import ModelCard
from segdeploy.models import Deployed

from . import to_torchscript
from .making import Candidate


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
