"""A network as a TorchScript file.

PyTorch calls TorchScript deprecated in favor of torch.export. It stays because it is what many programs in C++ and
many phones still load. This file and `backends/torchscript.py` are the only ones that touch it.
"""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from segdeploy.card import ModelCard
from segdeploy.errors import ExportError
from segdeploy.models import Deployed
from segdeploy.pixels import Batch
from segdeploy.selfcheck import built_in_picture


@dataclass(frozen=True, kw_only=True)
class TorchScriptCandidate:
    """A converted network that is not yet proven.

    Attributes:
        module: Traced and frozen: weights are constants, and batch norms lie in their convolutions.
    """

    module: torch.jit.ScriptModule

    def write(self, path: Path, texts: Mapping[str, str]) -> None:
        """Write the file, and the texts that it shall carry as extra files, by their keys."""
        # To memory first: PyTorch's own writer reports a full disk as a bare RuntimeError.
        content = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit")
            torch.jit.save(self.module, content, _extra_files=dict(texts))
        path.write_bytes(content.getvalue())

    def first_diverging(self, path: Path, batch: Batch) -> str:  # noqa: ARG002 - a frozen module has no layers left to ask
        """Tell that TorchScript cannot name it."""
        return "unknown, since a frozen TorchScript module has lost the names of its layers; --format onnx can name it"


def convert(network: Deployed, card: ModelCard) -> TorchScriptCandidate:
    """Trace and freeze a network; the number of pictures is free, and so are height and width.

    Args:
        network: In evaluation mode, on the processor.
        card: What the file will tell about itself.

    Raises:
        ExportError: PyTorch cannot trace it.
    """
    example = torch.from_numpy(built_in_picture(card.input.height, card.input.width))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.filterwarnings("ignore", message=r".*torch\.jit")
            # What a trace warns of, a branch on a size, the proof finds where it changes an answer.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
            frozen: torch.jit.ScriptModule = torch.jit.freeze(traced)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        msg = f"{card.architecture} cannot be turned into TorchScript: {reason}; choose --format onnx"
        raise ExportError(msg) from error
    return TorchScriptCandidate(module=frozen)
