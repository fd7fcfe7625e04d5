"""ncnn files: a graph as text and its weights, converted by pnnx from a traced network."""

import subprocess
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pnnx
import torch
from torch import Tensor, nn

from segdeploy.arrays import Batch
from segdeploy.backends.base import companion_of
from segdeploy.backends.sidecar import WEIGHTS, write_metadata
from segdeploy.card import ModelCard
from segdeploy.errors import ConfigError, ExportError
from segdeploy.models.deployed import Deployed
from segdeploy.system.files import temporary_folder

from .plan import ExportConfig, ExportPlan
from .proof import input_sizes


@dataclass(frozen=True, kw_only=True)
class NcnnCandidate:
    """A network as an ncnn graph that is not yet proven.

    Attributes:
        graph: Its layers, as text.
        weights: Their weights.
    """

    graph: bytes
    weights: bytes

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the graph, its weights, and the metadata beside them."""
        path.write_bytes(self.graph)
        companion_of(path, WEIGHTS[".param"]).write_bytes(self.weights)
        write_metadata(path, metadata)

    def first_diverging(self, path: Path, batch: Batch) -> str:  # noqa: ARG002 - an interface
        """Return that ncnn cannot name the layer."""
        return "unknown, since ncnn's layers have lost their names; --format onnx can name it"


class Planes(nn.Module):
    """A network that takes channels first in float32, which is all that ncnn has."""

    def __init__(self, deployed: Deployed) -> None:
        """Wrap a network that takes channels last."""
        super().__init__()
        self.deployed = deployed

    def forward(self, planes: Tensor) -> Tensor:
        """Return the logits of (N, C, H, W) float32 images that are not yet normalized."""
        output: Tensor = self.deployed(planes.permute(0, 2, 3, 1))
        return output


def check(card: ModelCard, config: ExportConfig) -> None:  # noqa: ARG001 - an interface
    """Refuse what ncnn cannot hold.

    Raises:
        ConfigError: The output has whole numbers.
    """
    if card.output == "classes":
        msg = (
            "ncnn has no whole numbers, and the output is classes; choose --output logits or"
            " probabilities"
        )
        raise ConfigError(msg)


def convert(plan: ExportPlan) -> NcnnCandidate:
    """Convert the network of a plan to ncnn.

    Raises:
        ExportError: PyTorch cannot trace it, or ncnn has no layers for it.
    """
    card = plan.card
    assert isinstance(plan.network, Deployed), "an ONNX file cannot be traced"
    network = Planes(plan.network).eval()
    shapes = [[1, len(card.input.channels), *size] for size in input_sizes(card.input)]
    with temporary_folder() as folder:
        traced = folder / "network.pt"
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.filterwarnings("ignore", message=r".*torch\.jit")
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                _trace(network, shapes[0]).save(traced)
        except RuntimeError as error:
            raise _not_convertible(card, " ".join(str(error).split())[:300]) from error
        return _from_traced(traced, card, shapes)


def _from_traced(traced: Path, card: ModelCard, shapes: list[list[int]]) -> NcnnCandidate:
    """Run pnnx on a traced network; a second shape tells it which sides are dynamic."""
    inputs = [
        f"inputshape{number}={shape}f32".replace(" ", "")
        for number, shape in zip(("", "2"), shapes, strict=False)
    ]
    done = subprocess.run(  # noqa: S603 - the program of the installed package
        [pnnx.EXEC_PATH, str(traced), *inputs, f"fp16={int(card.precision == 'fp16')}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        errors="replace",
        cwd=traced.parent,
    )
    graph = traced.with_suffix(".ncnn.param")
    weights = traced.with_suffix(".ncnn.bin")
    if done.returncode or not (graph.is_file() and weights.is_file()):
        lines = done.stdout.splitlines()[-1:] or [f"pnnx ended with {done.returncode}"]
        raise _not_convertible(card, " ".join(lines[0].split())[:300])
    foreign = foreign_operators(graph.read_text(encoding="utf-8", errors="replace"))
    if foreign:
        raise _not_convertible(card, f"it has no layer for {', '.join(foreign)}")
    return NcnnCandidate(graph=graph.read_bytes(), weights=weights.read_bytes())


def foreign_operators(graph: str) -> list[str]:
    """Return the operators of a graph that pnnx left as they were: their names have a dot."""
    names = (line.split()[0] for line in graph.splitlines()[2:] if line.strip())
    return [name for name in dict.fromkeys(names) if "." in name or ":" in name]


def _not_convertible(card: ModelCard, reason: str) -> ExportError:
    option = "leave --dynamic out, or " if card.input.dynamic else ""
    return ExportError(
        f"{card.architecture} cannot be converted to ncnn: {reason}; {option}choose --format onnx"
    )


def _trace(network: nn.Module, shape: list[int]) -> torch.jit.ScriptModule:
    """Return the TorchScript of a network for inputs of one shape."""
    images = torch.zeros(shape)
    traced: torch.jit.ScriptModule
    traced = torch.jit.trace(network, images, check_trace=False)  # type: ignore[no-untyped-call]
    return traced
