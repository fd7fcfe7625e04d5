"""Any network of PyTorch to a proven file, from Python."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segdeploy.card import ModelCard, Output
from segdeploy.errors import ConfigError, ExportError
from segdeploy.inference.self_test import built_in_image
from segdeploy.models.deployed import Deployed

from .capture import with_output
from .config import FORMATS, ExportConfig, choose_formats
from .exporter import export_network, ordered
from .writer import Artifact


def export_module(
    network: nn.Module,
    card: ModelCard,
    path: Path | str,
    *,
    precision: str = "fp32",
    output: Output = "logits",
    proof: ExportConfig | None = None,
) -> Artifact:
    """Export any network that gives logits, prove it, and give what was written.

    The file takes uint8 images, as every file of ours: what the card says of mean and deviation
    goes into the graph.

    Args:
        network: Takes (N, 3, H, W) float32, normalized by the card's mean and std, and gives (N, K,
            h, w) logits: as a tensor, or as the value "out" or "logits" of a mapping, as
            torchvision's and transformers' networks do. It is put into evaluation mode.
        card: Its classes in channel order, and its input.
        path: Name of the file; its ending tells the format.
        precision: "fp32", "fp16", "bf16" or "int8", as far as the format has it.
        output: What the file answers.
        proof: On which images it is proven and calibrated, and how much int8 may lose; drawn
            streets where None.

    Raises:
        ConfigError: The ending is of no format, or the format has no such precision.
        ExportError: The network fails on an image, gives no logits of the card's classes, or
            cannot be converted.
        GateError: The file does not answer as the network does; nothing is left.
    """
    target = Path(path)
    endings = {form.ending: name for name, form in FORMATS.items()}
    if target.suffix not in endings:
        msg = f"{target} ends with {target.suffix!r}; the formats' endings are {', '.join(endings)}"
        raise ConfigError(msg)
    name = endings[target.suffix]
    choose_formats(name, precision)
    order = replace(
        proof or ExportConfig(), precision=precision, answer=output, dynamic=card.input.dynamic
    )
    told = ordered(card, order)
    deployed = Deployed(Plain(network.eval()), card.input.mean, card.input.std).eval()
    check_answer(deployed, told)
    [made] = export_network(with_output(deployed, told), told, {name: target}, order)
    return made.artifact


def check_answer(network: Deployed, card: ModelCard) -> None:
    """Ask a network for the built-in image, so that a card of something else is told before anything is converted.

    Args:
        network: In evaluation mode, on the processor.
        card: Its classes, and the size of its input.

    Raises:
        ExportError: It fails on an image, gives no logits, or those of another number of classes.
    """
    height, width = card.input.height, card.input.width
    try:
        with torch.no_grad():
            logits = network(torch.from_numpy(built_in_image(height, width)))
    # Whatever a network's code raises where its input has other channels, another size or another
    # device than it wants.
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = " ".join(str(error).split())[:300]
        failed = (
            f"{card.architecture} fails on an image (1, 3, {height}, {width}) of float32 on the"
            " processor"
        )
        msg = f"{failed}: {reason}; mend the network or its card"
        raise ExportError(msg) from error
    if logits.shape[1] != len(card.classes):
        found = (
            f"{card.architecture} gives {logits.shape[1]} channels and its card has"
            f" {len(card.classes)} classes"
        )
        msg = f"{found}; name one class for each channel"
        raise ExportError(msg)


class Plain(nn.Module):
    """A network whose answer is a tensor, whatever the network's own wraps it in."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap a network.

        Args:
            network: Gives logits as a tensor, or in a mapping.
        """
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Answer (N, 3, H, W) normalized images with (N, K, h, w) logits."""
        return logits_of(self.network(image))


def logits_of(answer: Tensor | Mapping[str, Any]) -> Tensor:
    """Find the logits in what a network gave.

    Raises:
        ExportError: There are none.
    """
    if isinstance(answer, Mapping):
        answer = next((answer[key] for key in ("out", "logits") if key in answer), answer)
    if not isinstance(answer, Tensor) or answer.ndim != 4:
        shape = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        msg = (
            f"the network gives {shape} and no logits of shape (N, K, h, w); wrap it in a module"
            " that does"
        )
        raise ExportError(msg)
    return answer
