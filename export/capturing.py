"""A network as PyTorch's own exporter captures it: the graph that ONNX files and exported programs are made of."""

import torch
from torch.export import Dim, ExportedProgram

from segdeploy.card import ModelCard
from segdeploy.errors import ExportError
from segdeploy.models import Deployed
from segdeploy.selfcheck import built_in_picture

from .quiet import quiet

LEAST = 513
"""Pixels of a side that is captured as free, at least: the coarsest values here, an eighth of a 64th of it, are two then.

torch.export takes a side of one value for always one, and what is computed from it for a constant, without a word.
"""


def capture(network: Deployed, card: ModelCard) -> ExportedProgram:
    """Capture a network; the number of pictures is free, height and width are the card's, and free where it says dynamic.

    Args:
        network: In evaluation mode, on the processor; it answers what the card says.
        card: What the file will tell about itself.

    Raises:
        ExportError: PyTorch cannot capture it, or not for all sizes.
    """
    spec = card.input
    least = -(-LEAST // spec.stride) * spec.stride if spec.dynamic else 0
    # Sizes of 0 and 1 are taken for constants.
    example = torch.from_numpy(built_in_picture(max(spec.height, least), max(spec.width, least))).repeat(2, 1, 1, 1)
    # A named Dim must hold down to 0, which halving never does; DYNAMIC still refuses a size that is frozen.
    free = dict.fromkeys((0, 1, 2) if spec.dynamic else (0,), Dim.DYNAMIC)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(network, (example,), dynamic_shapes={"image": free})
    # torch.export raises whatever the network's code does under it.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        msg = f"{card.architecture} cannot be captured by torch.export: {reason}; choose --format torchscript or another network"
        raise ExportError(msg) from error
    bounds = [limit.upper for limit in program.range_constraints.values() if limit.upper.is_Integer]
    if bounds:
        found = f"{card.architecture} was captured for up to {min(bounds)} pictures or pixels a side only"
        msg = f"{found}; leave out --dynamic, or choose another network"
        raise ExportError(msg)
    return program
