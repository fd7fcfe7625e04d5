"""MNN files hold what the network computes, in every output and precision."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec import structs

pytest.importorskip("MNN")

from dataclasses import replace

from segdeploy.arrays import Batch
from segdeploy.backends.base import RuntimeOptions
from segdeploy.backends.loading import KINDS
from segdeploy.card import CARD_KEY
from segdeploy.errors import ExportError
from segdeploy.export.capture import with_output
from segdeploy.export.mnn_format import CONVERT, OPTIONS, MnnCandidate, convert, from_onnx
from segdeploy.export.onnx_format import OnnxCandidate
from segdeploy.models.checkpoint import load_checkpoint
from tests.helpers.plans import make_plan

RUNTIME = RuntimeOptions(device="cpu", threads=1, probe=False)


@pytest.fixture(scope="module")
def candidate(artifacts: Path) -> MnnCandidate:
    checkpoint = load_checkpoint(artifacts / "best.pt")
    return convert(make_plan(checkpoint.network(), checkpoint.card))


@pytest.fixture(scope="module")
def batch() -> Batch:
    return np.random.default_rng(0).integers(0, 256, (2, 45, 60, 3), dtype=np.uint8)


def expected_labels(artifacts: Path, batch: Batch) -> np.ndarray:
    return KINDS[".onnx"].load(artifacts / "best.onnx", RUNTIME).run(batch).argmax(1)


def changed(candidate: MnnCandidate) -> OnnxCandidate:
    """Return a copy of the graph of a candidate, to be changed."""
    model = onnx.ModelProto()
    model.CopyFrom(candidate.source.model)
    return replace(candidate.source, model=model)


def test_labels_of_fp16_are_those_of_fp32(
    candidate: MnnCandidate, artifacts: Path, tmp_path: Path, batch: Batch
) -> None:
    """Its weights take half the bytes."""
    card = structs.replace(candidate.card, precision="fp16")
    half = from_onnx(candidate.source, card, options=OPTIONS["fp16"])
    half.write(tmp_path / "a.mnn", {CARD_KEY: card.to_json()})

    labels = KINDS[".mnn"].load(tmp_path / "a.mnn", RUNTIME).run(batch).argmax(1)

    assert (labels == expected_labels(artifacts, batch)).mean() > 0.99
    assert len(half.content) < len(candidate.content)


@pytest.mark.slow
def test_classes_are_bytes(artifacts: Path, tmp_path: Path, batch: Batch) -> None:
    """An argmax inside the file returns what the postprocessing would."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    card = structs.replace(checkpoint.card, output="classes", confidence=True)
    made = convert(make_plan(with_output(checkpoint.network(), card), card))
    made.write(tmp_path / "a.mnn", {CARD_KEY: card.to_json()})

    classes = KINDS[".mnn"].load(tmp_path / "a.mnn", RUNTIME).run(batch)

    assert classes.dtype == np.uint8
    assert (classes == expected_labels(artifacts, batch)).mean() > 0.99


def test_diverging_layer_is_named(candidate: MnnCandidate, tmp_path: Path, batch: Batch) -> None:
    """The tensors of a file keep their names, so the first layer that differs is found."""
    source = changed(candidate)
    weights = [one for one in source.model.graph.initializer if one.name.endswith(".weight")]
    numbers = np.frombuffer(weights[1].raw_data, np.float32) * 3
    weights[1].raw_data = numbers.tobytes()
    wrong = from_onnx(source, candidate.card, options=())
    wrong.write(tmp_path / "a.mnn", {CARD_KEY: candidate.card.to_json()})

    found = wrong.first_diverging(tmp_path / "a.mnn", batch[:1])

    assert found.endswith("(MNN's operator that computes 'relu_1')")


def test_operator_that_mnn_lacks_is_named(candidate: MnnCandidate) -> None:
    """The converter says so in a line of its own, and writes no file."""
    source = changed(candidate)
    source.model.graph.node[4].op_type = "Imagined"

    with pytest.raises(ExportError, match=r"cannot be converted to MNN: .*Imagined"):
        from_onnx(source, candidate.card, options=())


def test_converter_is_called_without_its_wrapper() -> None:
    """`MNN.tools` installs a package when it is imported, and reports conversions to a server."""
    assert "MNN" not in CONVERT
