"""A file is written, proven, and only then gets its name."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from msgspec import structs
from torch import Tensor, nn

from segdeploy.arrays import Batch
from segdeploy.backends.loading import KINDS, read_card
from segdeploy.backends.pytorch import EagerBackend
from segdeploy.card import ModelCard
from segdeploy.errors import OutputError, ProofError, QuantizationError, UntrustedError
from segdeploy.export.command import describe
from segdeploy.export.int8_candidates import Int8Candidate
from segdeploy.export.plan import FORMATS
from segdeploy.export.torch_formats import TorchScriptCandidate, to_torchscript
from segdeploy.export.writer import (
    Candidate,
    ProofSettings,
    SingleCandidate,
    write_and_prove,
    write_proven,
)
from segdeploy.inference.self_test import verify
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed
from tests.helpers.int8 import make_candidate
from tests.helpers.plans import RandomImages, make_plan

TORCHSCRIPT = FORMATS["torchscript"]


def traced(artifacts: Path, *, error: float = 0) -> TorchScriptCandidate:
    """Trace the network of best.pt, with an error added to the bias of one class."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    network = checkpoint.network()
    network.network.head.bias.data[3] += error
    return to_torchscript(make_plan(network, checkpoint.card))


def test_proof_is_in_the_file_and_the_file_verifies(artifacts: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(artifacts / "best.pt")
    plan = make_plan(checkpoint.network(), checkpoint.card)
    path = tmp_path / "deep" / "best.torchscript"

    result = write_proven(
        path, SingleCandidate(candidate=traced(artifacts)), plan, file_format=TORCHSCRIPT
    )

    parity = read_card(path).parity
    assert parity == result.artifact.parity
    assert parity.miou is None
    assert parity.agreement == 1
    assert (result.candidates, result.chosen) == ((), None)
    assert result.artifact.size == path.stat().st_size
    difference = verify(path, KINDS[".torchscript"], device="cpu").result.difference
    assert difference is not None
    assert difference < 1e-4
    assert [entry.name for entry in path.parent.iterdir()] == ["best.torchscript"]


class RareOperator(nn.Module):
    """A network of the user's own, with an operator that is not on the list."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image)
        return logits + torch.lgamma(logits.abs() + 1)


def test_network_of_a_rare_operator_is_proven_and_needs_trust(
    artifacts: Path, tmp_path: Path
) -> None:
    """The file is the user's own; who gets it must decide about it."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    spec = checkpoint.card.input
    network = Deployed(RareOperator(checkpoint.network().network), spec.mean, spec.std).eval()
    plan = make_plan(network, checkpoint.card)
    path = tmp_path / "rare.torchscript"

    artifact = write_proven(
        path, SingleCandidate(candidate=to_torchscript(plan)), plan, file_format=TORCHSCRIPT
    ).artifact

    assert artifact.untrusted == "the operator 'torch.lgamma'"
    assert "runs with --trust only, since it holds the operator" in describe(artifact)
    with pytest.raises(UntrustedError):
        verify(path, KINDS[".torchscript"], device="cpu")
    assert verify(path, KINDS[".torchscript"], device="cpu", trust=True).result.agreement == 1


class NamingCandidate(TorchScriptCandidate):
    """Names a layer, as ONNX can."""

    def first_diverging(self, path: Path, batch: Batch) -> str:
        assert path.exists()
        assert batch.shape == (1, 45, 60, 3)
        return "network.head"


def test_failed_proof_leaves_nothing_and_names_the_layer(artifacts: Path, tmp_path: Path) -> None:
    """A file with the weights of another network must never get a name under which it is run."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    settings = ProofSettings(images=RandomImages(), new_report=lambda: tmp_path / "report")

    with pytest.raises(
        ProofError,
        match=(
            r"was not written: on 1 images \(random images\) only .* diverges: network\.head; the"
            r" worst images are drawn in"
        ),
    ):
        write_and_prove(
            tmp_path / "best.torchscript",
            tmp_path / "best.torchscript.part",
            NamingCandidate(module=traced(artifacts, error=5).module),
            kind=KINDS[".torchscript"],
            reference=EagerBackend(checkpoint.network(), checkpoint.card),
            card=checkpoint.card,
            settings=settings,
        )

    assert [entry.name for entry in (tmp_path / "report").iterdir()] == ["worst-1.png"]


def test_failed_proof_removes_the_file(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the drawings of the worst images are left, in a run's folder."""
    monkeypatch.chdir(tmp_path)
    checkpoint = load_checkpoint(artifacts / "best.pt")
    plan = make_plan(checkpoint.network(), checkpoint.card)
    single = SingleCandidate(candidate=traced(artifacts, error=5))

    with pytest.raises(ProofError, match=r"runs/export/best\.torchscript"):
        write_proven(tmp_path / "best.torchscript", single, plan, file_format=TORCHSCRIPT)

    assert [entry.name for entry in tmp_path.iterdir()] == ["runs"]


class NoRoom(TorchScriptCandidate):
    """A candidate on a full disk."""

    def write(self, path: Path, metadata: Mapping[str, str]) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")


def test_full_disk_keeps_the_old_file(artifacts: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(artifacts / "best.pt")
    path = tmp_path / "best.torchscript"
    path.write_bytes(b"old")
    plan = make_plan(checkpoint.network(), checkpoint.card)
    single = SingleCandidate(candidate=NoRoom(module=traced(artifacts).module))

    with pytest.raises(OutputError, match="No space left"):
        write_proven(path, single, plan, file_format=TORCHSCRIPT)

    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["best.torchscript"]


class ListedCandidates:
    """Candidates in the order of a list."""

    def __init__(self, candidates: Sequence[tuple[Candidate, Int8Candidate]]) -> None:
        self._candidates = candidates
        self.tried = [measured for _, measured in candidates]

    def __iter__(self) -> Iterator[tuple[Candidate, Int8Candidate]]:
        return iter(self._candidates)


def write_int8(artifacts: Path, path: Path, candidates: ListedCandidates) -> ModelCard:
    """Write the first candidate that loses at most 0.1 points of mIoU, and return its card."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    card = structs.replace(checkpoint.card, precision="int8")
    plan = make_plan(checkpoint.network(), card, max_miou_drop=0.001)
    result = write_proven(path, candidates, plan, file_format=TORCHSCRIPT)
    assert read_card(path) == result.artifact.card
    assert result.candidates == tuple(candidates.tried)
    return result.artifact.card


def test_candidate_that_fails_on_all_images_gives_way_to_the_next(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candidate that passes on some of the images may fail on the others."""
    monkeypatch.chdir(tmp_path)
    candidates = ListedCandidates(
        [
            (traced(artifacts, error=9), make_candidate("bold")),
            (traced(artifacts), make_candidate("careful")),
        ]
    )

    card = write_int8(artifacts, tmp_path / "best.torchscript", candidates)

    assert card.conversion == {"calibration": "careful"}
    assert card.parity is not None
    assert card.parity.max_miou_drop == 0.001


def test_network_without_a_passing_candidate_is_refused(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    candidates = ListedCandidates([(traced(artifacts, error=9), make_candidate("bold"))])

    with pytest.raises(
        QuantizationError,
        match=(
            r"int8 loses too much; the best of 1 candidates \(bold\) has 50.00% mIoU where float32"
            r" has 50.00%"
        ),
    ) as refusal:
        write_int8(artifacts, tmp_path / "best.torchscript", candidates)

    assert [measured.name for measured in refusal.value.candidates] == ["bold"]
    assert not (tmp_path / "best.torchscript").exists()
