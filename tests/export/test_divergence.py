"""A planted fault is found by the name of its layer."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from torch import Tensor, nn

from segdeploy.card import Output
from segdeploy.export.capture import with_output
from segdeploy.export.divergence import differs
from segdeploy.export.onnx_format import OnnxCandidate, convert
from segdeploy.export.writer import Candidate
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.deployed import Deployed

BATCH = np.random.default_rng(0).integers(0, 256, (1, 45, 60, 3), dtype=np.uint8)


@pytest.fixture
def candidate(candidates: Mapping[str, Candidate]) -> OnnxCandidate:
    found = candidates["onnx"]
    assert isinstance(found, OnnxCandidate)
    return found


def spoil_weight(name: str) -> Callable[[onnx.ModelProto], None]:
    def spoil(model: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[0] += 1
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))

    return spoil


def spoil_resize(model: onnx.ModelProto) -> None:
    """Enlarge from the corners instead of the centers, as align_corners mistakes do.

    In the second join.
    """
    node = [node for node in model.graph.node if node.op_type == "Resize"][1]
    next(
        entry for entry in node.attribute if entry.name == "coordinate_transformation_mode"
    ).s = b"asymmetric"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "layer"),
    [
        (spoil_weight("network.stem.0.0.weight"), "network.stem.0.0 (the Conv"),
        (
            spoil_weight("network.decoder.1.refine.0.0.weight"),
            "network.decoder.1.refine.0.0 (the Conv",
        ),
        (spoil_weight("network.head.weight"), "network.head (the Conv"),
        (spoil_weight("scale"), "the preparation of the image (the Mul"),
        (spoil_resize, "network.decoder.1 (the Resize"),
        (lambda model: None, "none, every layer alone agrees"),
    ],
    ids=["first weight", "deep weight", "last weight", "normalization", "resize mode", "no fault"],
)
def test_planted_fault_is_found(
    candidate: OnnxCandidate, tmp_path: Path, spoil: Callable[[onnx.ModelProto], None], layer: str
) -> None:
    """Knowing that a file is wrong is little; knowing where saves the day."""
    candidate.write(tmp_path / "spoiled.onnx", {})
    model = onnx.load(tmp_path / "spoiled.onnx")
    spoil(model)
    onnx.save(model, tmp_path / "spoiled.onnx")

    assert candidate.first_diverging(tmp_path / "spoiled.onnx", BATCH).startswith(layer)


class Branching(nn.Module):
    """A network with the trap: a branch on the size that no exporter warns of."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = Doubling()

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.second(self.first(image))
        return answer


class Doubling(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image * 2 if image.shape[0] > 1 else image


@pytest.mark.slow
def test_frozen_branch_is_found(artifacts: Path, tmp_path: Path) -> None:
    """Where capturing itself goes wrong, the captured program and the file agree, and only the
    network differs.
    """
    card = load_checkpoint(artifacts / "best.pt").card
    candidate = convert(Deployed(Branching(), (0, 0, 0), (1, 1, 1)).eval(), card, opset=21)
    candidate.write(tmp_path / "frozen.onnx", {})

    assert candidate.first_diverging(tmp_path / "frozen.onnx", BATCH).startswith(
        "network.second (torch.export"
    )


class Outer(nn.Module):
    """The same trap, between the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        answer: Tensor = self.first(image)
        return -answer if image.shape[0] > 1 else answer


@pytest.mark.slow
@pytest.mark.parametrize("output", ["logits", "classes"])
def test_frozen_branch_between_the_layers_is_told_from_none(
    artifacts: Path, tmp_path: Path, output: Output
) -> None:
    """No layer is wrong, and the file is all the same.

    To say that all agree would send people to look elsewhere.
    """
    card = replace(load_checkpoint(artifacts / "best.pt").card, output=output)
    candidate = convert(
        with_output(Deployed(Outer(), card.input.mean, card.input.std).eval(), card), card, opset=21
    )
    candidate.write(tmp_path / "frozen.onnx", {})

    told = candidate.first_diverging(tmp_path / "frozen.onnx", BATCH)

    assert told.startswith(
        "none, the layers agree and the difference arises in a forward around them (torch.export"
        " captured"
    )


@pytest.mark.parametrize("found", [[1.0, 2.003], [1.0], [1.0, float("nan")]])
def test_differs_by_more_than_a_thousandth_of_the_largest(found: list[float]) -> None:
    """2.002 would be the edge: a thousandth of 2 away."""
    assert differs(np.array(found), np.array([1.0, 2.0]))


@pytest.mark.parametrize("found", [[1.0, 2.0], [1.0, 2.001], [1.0015, 2.0]])
def test_rounding_is_no_difference(found: list[float]) -> None:
    """What counts is the largest number of the value.

    Small ones are sums in which large ones cancel.
    """
    assert not differs(np.array(found), np.array([1.0, 2.0]))
