"""From a network to a file that is proven, and only then gets its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from segdeploy.atomic import replacing
from segdeploy.backends.eager import EagerBackend
from segdeploy.backends.loading import KINDS, Kind
from segdeploy.card import CARD_KEY, ModelCard
from segdeploy.errors import ProofError
from segdeploy.models import Deployed
from segdeploy.parity import Parity
from segdeploy.pixels import Batch
from segdeploy.selfcheck import ANSWER_KEY, CHECKSUM_KEY, Answer, built_in_picture
from segdeploy.verification import verify

from . import to_torchscript
from .evidence import Evidence
from .proof import Proof, prove


class Candidate(Protocol):
    """A converted network that is not yet proven."""

    def write(self, path: Path, texts: Mapping[str, str]) -> None:
        """Write the file, and the texts that it shall carry, by their keys."""
        ...

    def first_diverging(self, path: Path, batch: Batch) -> str:
        """Name the first layer of a written file that answers a batch otherwise than PyTorch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A proven file.

    Attributes:
        path: Its name.
        size: Its size, in bytes.
        parity: How it was proven.
    """

    path: Path
    size: int
    parity: Parity

    def to_dict(self) -> dict[str, Any]:
        """Give the values as JSON knows them."""
        return {"path": str(self.path), "bytes": self.size, "parity": self.parity.to_dict()}


def convert(name: str, network: Deployed, *, card: ModelCard, opset: int) -> tuple[Candidate, Kind]:
    """Convert a network to a format by its name, and tell what runs the file.

    Args:
        name: "onnx" or "torchscript".
        network: In evaluation mode, on the processor.
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


def make(
    path: Path, candidate: Candidate, *, kind: Kind, network: Deployed, card: ModelCard, evidence: Evidence, on_step: Callable[[str], None]
) -> Artifact:
    """Write a file, prove it, store the proof in it, and give it its name; on any failure nothing is left.

    Args:
        path: Name of the file.
        candidate: The converted network.
        kind: What runs the file.
        network: The network that it was converted from, in evaluation mode, on the processor.
        card: What the file tells about itself.
        evidence: Pictures to prove it on.
        on_step: Called after each comparison.

    Raises:
        ProofError: It does not answer as the network does; the message names the first layer that diverges.
        OutputError: It cannot be written.
    """
    reference = EagerBackend(network, card)
    with replacing(path) as part:
        candidate.write(part, {CARD_KEY: card.to_json()})
        proof = prove(kind.load(part, device="cpu"), reference, evidence=evidence, on_step=on_step)
        if not proof.parity.agreement >= proof.parity.gate:
            raise _failure(path, proof, candidate.first_diverging(part, proof.worst))
        answer = Answer.of(reference.run(built_in_picture(card.input.height, card.input.width)))
        texts = {CARD_KEY: replace(card, parity=proof.parity).to_json(), ANSWER_KEY: answer.to_json()}
        candidate.write(part, texts)
        candidate.write(part, {**texts, CHECKSUM_KEY: kind.checksum(part)})
        verify(part, kind, device="cpu")
    return Artifact(path=path, size=path.stat().st_size, parity=proof.parity)


def _failure(path: Path, proof: Proof, layer: str) -> ProofError:
    parity = proof.parity
    return ProofError(
        f"{path} was not written: on {parity.pictures} pictures ({parity.source}) only {parity.agreement:.3%} of its labels are PyTorch's, "
        f"and {parity.gate:.1%} are needed; the first layer that diverges is {layer}"
    )
