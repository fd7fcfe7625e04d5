"""Files that are written, proven, and only then given their name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import structs, to_builtins

from segdeploy.arrays import Batch
from segdeploy.backends.base import Backend, RuntimeOptions
from segdeploy.backends.loading import KINDS, ArtifactKind
from segdeploy.backends.pytorch import EagerBackend
from segdeploy.card import CARD_KEY, CHECKSUM_KEY, SELF_TEST_KEY, ModelCard
from segdeploy.errors import (
    ExportError,
    ModelError,
    ProofError,
    QuantizationError,
    UntrustedError,
)
from segdeploy.inference.self_test import ExpectedOutput, built_in_batch, verify
from segdeploy.metrics.scores import LEAST_AGREEMENT, Parity
from segdeploy.models.deployed import Deployed
from segdeploy.system import files, runs

from .capture import frozen_operator
from .plan import ExportPlan, Format, import_function
from .proof import Proof, ProofImages, prove, write_worst

if TYPE_CHECKING:
    from .int8_candidates import Int8Candidate

OTHER_PROCESSORS: Mapping[str, tuple[float, float]] = {
    "fp16": (0.02, 0.99),
    "bf16": (0.1, 0.95),
    "int8": (0.1, 0.95),
}
"""How far a file may be from its output on another processor, by its precision: largest
difference of a logit, as a share of the largest logit, and smallest share of equal labels."""


class Candidate(Protocol):
    """A converted network that is not yet proven."""

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file with the metadata in it."""
        ...

    def first_diverging(self, path: Path, batch: Batch) -> str:
        """Return a description of the first layer whose output is not PyTorch's.

        Args:
            path: The file.
            batch: (1, H, W, 3) uint8 RGB.
        """
        ...


class Candidates(Protocol):
    """Conversions of one network, in the order in which they are to be proven."""

    @property
    def tried(self) -> Sequence["Int8Candidate"]:
        """What was measured of the candidates so far; empty where there is no choice."""
        ...

    def __iter__(self) -> Iterator[tuple[Candidate, "Int8Candidate | None"]]:
        """Return candidates, each with what was measured of it, the preferred ones first."""
        ...


@dataclass(frozen=True, kw_only=True)
class SingleCandidate:
    """The only conversion of a network to a format."""

    candidate: Candidate
    tried: Sequence["Int8Candidate"] = ()

    def __iter__(self) -> Iterator[tuple[Candidate, "Int8Candidate | None"]]:
        yield self.candidate, None


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A proven file.

    Attributes:
        path: The file, or the folder.
        size: Its size, in bytes.
        card: The card in the file, with the proof.
        parity: Result of the proof.
        device: Runtime and device of the proof.
        worst: Drawings of the images on which most labels differ from the reference's.
        untrusted: Why it is loaded with `--trust` only; "" where it needs none.
    """

    path: Path
    size: int
    card: ModelCard
    parity: Parity
    device: str
    worst: tuple[Path, ...] = ()
    untrusted: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return {
            "path": str(self.path),
            "bytes": self.size,
            "precision": self.card.precision,
            "output": self.card.output,
            "conversion": dict(self.card.conversion),
            "device": self.device,
            "parity": to_builtins(self.parity),
            "worst": list(map(str, self.worst)),
        }


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A file, and the int8 candidates that it was chosen from.

    Attributes:
        artifact: The file.
        candidates: What was measured of each candidate; empty for other precisions.
    """

    artifact: Artifact
    candidates: tuple["Int8Candidate", ...] = ()

    @property
    def chosen(self) -> "Int8Candidate | None":
        """The candidate that the file holds; None for other precisions."""
        conversion = self.artifact.card.conversion
        return next((one for one in self.candidates if one.conversion == conversion), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        candidates = [candidate.to_dict() for candidate in self.candidates]
        return {**self.artifact.to_dict(), "candidates": candidates}


@dataclass(frozen=True, kw_only=True)
class ProofSettings:
    """How files are proven.

    Attributes:
        images: Images of the proof.
        max_miou_drop: How much lower the mIoU of an int8 file may be, in [0, 1].
        new_report: Returns a folder for drawings, called only where labels differ; None for no
            drawings.
        on_step: Called after each comparison, with the share of equal labels.
    """

    images: ProofImages
    max_miou_drop: float = 0.005
    new_report: Callable[[], Path] | None = None
    on_step: Callable[[str], None] = lambda _: None


def write_proven(
    path: Path,
    candidates: Candidates,
    plan: ExportPlan,
    *,
    file_format: Format,
    on_step: Callable[[str], None] = lambda _: None,
) -> ExportResult:
    """Write the first candidate that passes the proof.

    On any failure no file is left, only the drawings.

    Args:
        path: Name of the file, or of the folder.
        candidates: The converted network.
        plan: Network, card and images.
        file_format: Format of the file.
        on_step: Called after each comparison.

    Raises:
        ProofError: The only candidate's output is not the network's; the message names the first
            layer that diverges.
        QuantizationError: No candidate in int8 passes.
        ExportError: Its runtime refuses the file.
        OutputError: The file cannot be written.
    """
    settings = ProofSettings(
        images=plan.proof_images,
        max_miou_drop=plan.config.max_miou_drop,
        new_report=partial(runs.new_run, "export", path.name),
        on_step=on_step,
    )
    failure: ProofError | None = None
    for candidate, measured in candidates:
        conversion = plan.card.conversion if measured is None else measured.conversion
        card = structs.replace(plan.card, conversion=conversion)
        try:
            artifact = _write_artifact(
                path,
                candidate,
                replace(plan, card=card),
                file_format=file_format,
                settings=settings,
            )
        except ProofError as error:
            if measured is None:
                raise
            failure = error
        else:
            return ExportResult(artifact=artifact, candidates=tuple(candidates.tried))
    raise _quantization_error(path, candidates.tried) from failure


def _write_artifact(
    path: Path,
    candidate: Candidate,
    plan: ExportPlan,
    *,
    file_format: Format,
    settings: ProofSettings,
) -> Artifact:
    kind = KINDS[file_format.runtime]
    with _temporary(path, plan, file_format) as part:
        file = part / file_format.model_file
        try:
            artifact = write_and_prove(
                path,
                file,
                candidate,
                kind=kind,
                reference=_reference(plan),
                card=plan.card,
                settings=settings,
            )
        except ModelError as error:
            raise _not_runnable(path, plan, error) from error
        if file_format.finish:
            import_function(file_format.finish)(part, path, plan)
        if part.is_dir():
            size = sum(entry.stat().st_size for entry in part.rglob("*") if entry.is_file())
            artifact = replace(artifact, size=size)
    return artifact


def _reference(plan: ExportPlan) -> Backend:
    """Return the network that files are compared with."""
    if isinstance(plan.network, Deployed):
        return EagerBackend(plan.network, plan.card)
    return plan.network.reference(plan.card)


def _not_runnable(path: Path, plan: ExportPlan, error: ModelError) -> ExportError:
    """Return the error of a file that its runtime refuses, though the network itself runs."""
    name = plan.card.architecture
    layer = ""
    if plan.card.input.dynamic and isinstance(plan.network, Deployed):
        layer = frozen_operator(plan.network, plan.card)
    if layer:
        return ExportError(
            f"{path} was not written: {name} cannot be exported for any size, since {layer} keeps"
            f" the size that it was captured with ({error}); leave --dynamic out, or compute that"
            " layer from the sizes of its input"
        )
    return ExportError(f"{path} was not written: the exported file does not run ({error})")


def _temporary(path: Path, plan: ExportPlan, file_format: Format) -> AbstractContextManager[Path]:
    """Return the context of a temporary file or folder that gets its name when the block ends."""
    if file_format.folder:
        folder: AbstractContextManager[Path] = import_function(file_format.folder)(path, plan)
        return folder
    return replacing_all(path, KINDS[file_format.runtime].companions(path))


@contextmanager
def replacing_all(path: Path, companions: Sequence[Path]) -> Iterator[Path]:
    """Yield the temporary path of a file whose companions are replaced with it."""
    with ExitStack() as stack:
        part = stack.enter_context(files.replacing(path))
        for companion in companions:
            stack.enter_context(files.replacing(companion))
        yield part


def write_and_prove(
    path: Path,
    part: Path,
    candidate: Candidate,
    *,
    kind: ArtifactKind,
    reference: Backend,
    card: ModelCard,
    settings: ProofSettings,
) -> Artifact:
    """Write a file under a temporary name, prove it, and write it again with the proof in it.

    Args:
        path: Its final name.
        part: Its temporary name.
        candidate: The converted network.
        kind: Its kind, which loads it.
        reference: The network that it must agree with.
        card: Its card.
        settings: How it is proven.

    Raises:
        ProofError: Its output is not the reference's.
    """
    candidate.write(part, {CARD_KEY: card.to_json()})
    backend, untrusted = _load(part, kind)
    proof = prove(
        backend,
        reference,
        images=settings.images,
        max_miou_drop=settings.max_miou_drop if card.precision == "int8" else None,
        on_step=settings.on_step,
    )
    differing = [image for image in proof.worst if image.agreement < 1]
    drawings: list[Path] = []
    if settings.new_report is not None and differing:
        drawings = write_worst(settings.new_report(), differing, card.classes)
    if not proof.parity.passed:
        layer = candidate.first_diverging(part, proof.worst[0].batch)
        raise _failure(path, proof, layer, drawings)
    proven = structs.replace(card, parity=proof.parity)
    expected = _expected_output(backend, reference)
    metadata = {CARD_KEY: proven.to_json(), SELF_TEST_KEY: expected.to_json()}
    candidate.write(part, metadata)
    candidate.write(part, {**metadata, CHECKSUM_KEY: kind.checksum(part)})
    verify(part, kind, device="cpu", trust=bool(untrusted), probe=False)
    return Artifact(
        path=path,
        size=sum(file.stat().st_size for file in (part, *kind.companions(part))),
        card=proven,
        parity=proof.parity,
        device=backend.device,
        worst=tuple(drawings),
        untrusted=untrusted,
    )


def _load(part: Path, kind: ArtifactKind) -> tuple[Backend, str]:
    """Load a file that was just written, as it will be loaded everywhere.

    Returns:
        The backend, and what a file of the user's own network holds that needs `--trust`; "" if
        nothing.
    """
    try:
        return kind.load(part, RuntimeOptions(device="cpu", probe=False)), ""
    except UntrustedError as error:
        return kind.load(part, RuntimeOptions(device="cpu", trust=True)), error.what


def _expected_output(backend: Backend, reference: Backend) -> ExpectedOutput:
    """Return the output for the built-in image that `segdeploy verify` compares with.

    It is the reference's in float32; in lower precisions the file's own, which passed the proof.
    """
    card = backend.card
    image = built_in_batch(card.input)
    if card.precision not in OTHER_PROCESSORS:
        return ExpectedOutput.of(reference.run(image))
    tolerance, agreement = OTHER_PROCESSORS[card.precision]
    return ExpectedOutput.of(backend.run(image), tolerance=tolerance, agreement=agreement)


def _failure(path: Path, proof: Proof, layer: str, drawings: Sequence[Path]) -> ProofError:
    parity = proof.parity
    agree = f"of its labels agree with {parity.against}'s"
    if parity.max_miou_drop is None or parity.miou is None or parity.reference_miou is None:
        reason = f"only {parity.agreement:.3%} {agree}, and {parity.gate:.1%} are required"
    else:
        reason = (
            f"it has {parity.miou:.2%} mIoU and {parity.against} {parity.reference_miou:.2%}, and"
            f" {parity.agreement:.2%} {agree}; at most {100 * parity.max_miou_drop:g} points of"
            f" mIoU may be lost, and {LEAST_AGREEMENT:.0%} of the labels must agree"
        )
    where = f"; the worst images are drawn in {drawings[0].parent}" if drawings else ""
    return ProofError(
        f"{path} was not written: on {parity.images} images ({parity.source}) {reason}; first"
        f" layer that diverges: {layer}{where}"
    )


def _quantization_error(path: Path, tried: Sequence["Int8Candidate"]) -> QuantizationError:
    """Return the error of a search in which no candidate passed."""
    best = max(tried, key=lambda candidate: candidate.score)
    measure, reference = "mIoU", best.parity.reference_miou
    if reference is None:
        measure, reference = "equal labels", 1.0
    return QuantizationError(
        f"{path} was not written: int8 loses too much; the best of {len(tried)} candidates"
        f" ({best.name}) has {best.score:.2%} {measure} where float32 has {reference:.2%};"
        " calibrate on other images, allow more with --max-miou-drop, or keep fp32",
        tried,
    )
