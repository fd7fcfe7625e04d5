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
from segdeploy.export.calibration import CalibrationImages, UnlabeledImage
from segdeploy.export.capture import with_output
from segdeploy.export.mnn_format import (
    CONVERT,
    INT8_WEIGHTS,
    OPTIONS,
    MnnCandidate,
    convert,
    from_onnx,
    search,
)
from segdeploy.export.onnx_format import OnnxCandidate
from segdeploy.export.plan import FORMATS
from segdeploy.export.writer import write_proven
from segdeploy.models.checkpoint import load_checkpoint
from tests.helpers.plans import RandomImages, make_plan

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


class FourImages:
    """Images that are drawn at random."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> UnlabeledImage:
        return UnlabeledImage(image=RandomImages()[index][0])


@pytest.mark.slow
def test_weights_of_int8_are_proven(artifacts: Path, tmp_path: Path) -> None:
    """Both ways to quantize them are measured, and the file holds one that passed."""
    checkpoint = load_checkpoint(artifacts / "best.pt")
    card = structs.replace(checkpoint.card, precision="int8")
    calibration = CalibrationImages(
        source="random", dataset=FourImages(), indices=(0, 1, 2, 3), spec=card.input
    )
    plan = make_plan(checkpoint.network(), card, images=RandomImages(3), calibration=calibration)

    result = write_proven(
        tmp_path / "a.mnn", search(plan, lambda _: None), plan, file_format=FORMATS["mnn"]
    )

    assert [one.name for one in result.candidates] == list(INT8_WEIGHTS)
    assert result.artifact.card.conversion["quantized"] in INT8_WEIGHTS


def test_converter_is_called_without_its_wrapper() -> None:
    """`MNN.tools` installs a package when it is imported, and reports conversions to a server."""
    assert "MNN" not in CONVERT
