"""From a network to a file that is proven, and only then gets its name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from segdeploy.arrays import Batch
from segdeploy.backends.base import Backend
from segdeploy.backends.loading import Kind
from segdeploy.backends.pytorch import EagerBackend
from segdeploy.card import ANSWER_KEY, CARD_KEY, CHECKSUM_KEY, ModelCard
from segdeploy.errors import ProofError, SpoiledError
from segdeploy.inference.self_test import Answer, built_in_image, verify
from segdeploy.metrics.agreement import LEAST_AGREEMENT, Parity
from segdeploy.models.deployed import Deployed
from segdeploy.system.files import replacing

from .int8_candidates import Int8Candidate
from .proof import Proof, ProofImages, prove, write_worst

ELSEWHERE: Mapping[str, tuple[float, float]] = {
    "fp16": (0.02, 0.99),
    "bf16": (0.1, 0.95),
    "int8": (0.1, 0.95),
}
"""How far a file of lower precision may be from its own answer on another processor: of the largest
logit, and share of equal labels."""


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
        card: What it tells about itself, with how it was proven.
        parity: How it was proven.
        device: What ran it in the proof, as it was granted.
        worst: Drawings of the images on which its labels differ most from the reference's.
    """

    path: Path
    size: int
    card: ModelCard
    parity: Parity
    device: str
    worst: tuple[Path, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON knows them."""
        made = {
            "precision": self.card.precision,
            "output": self.card.output,
            "conversion": dict(self.card.conversion),
            "device": self.device,
        }
        return {
            "path": str(self.path),
            "bytes": self.size,
            **made,
            "parity": self.parity.to_dict(),
            "worst": list(map(str, self.worst)),
        }


class Search(Protocol):
    """Candidates in 8 bits, tried one after the other."""

    @property
    def candidates(self) -> Sequence[Int8Candidate]:
        """What was found so far."""
        ...

    def __iter__(self) -> Iterator[tuple[Candidate, Int8Candidate]]:
        """Return those that pass on some of the images, the one to be preferred first."""
        ...


@dataclass(frozen=True, kw_only=True)
class Proving:
    """How files are proven.

    Attributes:
        evidence: Images to prove them on.
        max_miou_drop: How much lower the mIoU of an int8 file may be, in [0, 1].
        report: Gives a folder for drawings of the worst images, and is asked only where labels
            differ; None for no drawings.
        on_step: Called after each comparison.
    """

    evidence: ProofImages
    max_miou_drop: float = 0.005
    report: Callable[[], Path] | None = None
    on_step: Callable[[str], None] = lambda _: None


def make(
    path: Path,
    candidate: Candidate,
    *,
    kind: Kind,
    network: Deployed,
    card: ModelCard,
    proving: Proving,
) -> Artifact:
    """Write a file, prove it, store the proof in it, and give it its name.

    On any failure nothing is left but the drawings.

    Args:
        path: Name of the file.
        candidate: The converted network.
        kind: What runs the file.
        network: The network that it was converted from, with the same kind of answer, in evaluation
            mode, on the processor.
        card: What the file tells about itself.
        proving: How it is proven.

    Raises:
        ProofError: It does not answer as the network does; the message names the first layer that
            diverges.
        OutputError: It cannot be written.
    """
    with ExitStack() as stack:
        part = stack.enter_context(replacing(path))
        for companion in kind.companions(path):
            stack.enter_context(replacing(companion))
        return finish(
            path,
            part,
            candidate,
            kind=kind,
            reference=EagerBackend(network, card),
            card=card,
            proving=proving,
        )


def make_best(
    path: Path, search: Search, *, kind: Kind, network: Deployed, card: ModelCard, proving: Proving
) -> Artifact:
    """Write the first candidate of a search that passes on all images; see `make`.

    Raises:
        SpoiledError: None does, so that 8 bits would spoil the network; it holds what was tried.
        OutputError: It cannot be written.
    """
    refusal: ProofError | None = None
    for candidate, trial in search:
        try:
            told = replace(card, conversion=trial.conversion)
            return make(path, candidate, kind=kind, network=network, card=told, proving=proving)
        except ProofError as error:
            refusal = error
    best = max(search.candidates, key=lambda trial: trial.score)
    measure, reference = (
        ("labels", 1.0)
        if best.parity.reference_miou is None
        else ("mIoU", best.parity.reference_miou)
    )
    found = (
        f"the best of {len(search.candidates)} candidates ({best.name}) has {best.score:.2%} {measure}"
        f" where float32 has {reference:.2%}"
    )
    mend = "calibrate on other images, allow more with --max-miou-drop, or keep fp32"
    msg = f"{path} was not written: int8 spoils this network; {found}; {mend}"
    raise SpoiledError(msg, search.candidates) from refusal


def finish(
    path: Path,
    part: Path,
    candidate: Candidate,
    *,
    kind: Kind,
    reference: Backend,
    card: ModelCard,
    proving: Proving,
) -> Artifact:
    """Write a file under a temporary name, prove it, and write it again with the proof in it.

    Args:
        path: Name that it will get.
        part: Its temporary name.
        candidate: What writes it.
        kind: What runs it.
        reference: What it must answer like.
        card: What it tells about itself.
        proving: How it is proven.

    Raises:
        ProofError: It does not answer as the reference does.
    """
    candidate.write(part, {CARD_KEY: card.to_json()})
    backend = kind.load(part, device="cpu")
    budget = proving.max_miou_drop if card.precision == "int8" else None
    proof = prove(
        backend, reference, evidence=proving.evidence, max_miou_drop=budget, on_step=proving.on_step
    )
    differing = [one for one in proof.worst if one.agreement < 1]
    drawn = (
        write_worst(proving.report(), differing, card.classes)
        if proving.report and differing
        else []
    )
    if not proof.parity.passed:
        raise _failure(path, proof, candidate.first_diverging(part, proof.worst[0].batch), drawn)
    proven = replace(card, parity=proof.parity)
    texts = {CARD_KEY: proven.to_json(), ANSWER_KEY: _answer(backend, reference).to_json()}
    candidate.write(part, texts)
    candidate.write(part, {**texts, CHECKSUM_KEY: kind.checksum(part)})
    verify(part, kind, device="cpu")
    size = sum(one.stat().st_size for one in (part, *kind.companions(part)))
    return Artifact(
        path=path,
        size=size,
        card=proven,
        parity=proof.parity,
        device=backend.device,
        worst=tuple(drawn),
    )


def _answer(backend: Backend, reference: Backend) -> Answer:
    """Return the answer to be expected: the reference's in float32.

    Else the file's own, since it is the file that was found good enough.
    """
    card = backend.card
    image = built_in_image(card.input.height, card.input.width)
    if card.precision not in ELSEWHERE:
        return Answer.of(reference.run(image))
    tolerance, agreement = ELSEWHERE[card.precision]
    return Answer.of(backend.run(image), tolerance=tolerance, agreement=agreement)


def _failure(path: Path, proof: Proof, layer: str, drawn: list[Path]) -> ProofError:
    parity = proof.parity
    seen = f"; the worst are drawn in {drawn[0].parent}" if drawn else ""
    if (
        parity.max_miou_drop is not None
        and parity.miou is not None
        and parity.reference_miou is not None
    ):
        budget = (
            f"at most {100 * parity.max_miou_drop:g} points may be lost, with at least"
            f" {LEAST_AGREEMENT:.0%} of the labels alike"
        )
        scores = f"it has {parity.miou:.2%} mIoU and {parity.against} {parity.reference_miou:.2%}"
        lost = (
            f"{scores}, and {parity.agreement:.2%} of its labels are {parity.against}'s; {budget}"
        )
    else:
        lost = (
            f"only {parity.agreement:.3%} of its labels are {parity.against}'s, and"
            f" {parity.gate:.1%} are needed"
        )
    return ProofError(
        f"{path} was not written: on {parity.images} images ({parity.source}) {lost}; first"
        f" layer that diverges: {layer}{seen}"
    )
