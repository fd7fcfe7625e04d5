"""ONNX files in int8: which layers are quantized, and which candidate is chosen."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec import structs
from onnx import TensorProto, helper, numpy_helper

from segdeploy import datasets
from segdeploy.arrays import Batch
from segdeploy.backends.loading import read_card
from segdeploy.cli.main import main
from segdeploy.datasets.dataset import Sample
from segdeploy.datasets.synthetic.dataset import Streets
from segdeploy.errors import ExportError
from segdeploy.export.calibration import CalibrationImages, measure_ranges
from segdeploy.export.int8_candidates import CandidateEvaluator
from segdeploy.export.onnx_format import OnnxCandidate
from segdeploy.export.onnx_int8 import OnnxSearch, group_layers, quantize, rank_by_sensitivity
from segdeploy.export.proof import DatasetSplit
from segdeploy.export.writer import Candidate
from segdeploy.models.checkpoint import load_checkpoint
from tests.helpers.cards import make_classes
from tests.helpers.plans import make_plan

CLASSES = make_classes("a", "b")


def chain(weights: Sequence[float]) -> onnx.ModelProto:
    """A graph of 1x1 convolutions of three channels, each multiplying by one number.

    The last one gives the logits.
    """
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], name="turn", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["v0"], name="cast", to=TensorProto.FLOAT),
    ]
    tensors = []
    for index, weight in enumerate(weights):
        tensors.append(
            numpy_helper.from_array(
                np.eye(3, dtype=np.float32)[:, :, None, None] * np.float32(weight),
                f"layer{index}.weight",
            )
        )
        nodes.append(
            helper.make_node(
                "Conv",
                [f"v{index}", f"layer{index}.weight"],
                [f"v{index + 1}"],
                name=f"conv{index}",
            )
        )
    nodes[-1].output[0] = "logits"
    shape = ["N", 3, 4, 4]
    values = [
        helper.make_tensor_value_info(f"v{index}", TensorProto.FLOAT, shape)
        for index in range(len(weights))
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 4, 4, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        initializer=tensors,
        value_info=values,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_image_and_logits_stay_in_float() -> None:
    """Before the first weight the image is preprocessed.

    The last layer's logits would become equal in 8 bits.
    """
    layers = group_layers(chain([1, 1, 1, 1]), most=24)

    assert layers.always_float == ("turn", "cast", "conv3")
    assert layers.groups == (("conv0",), ("conv1",), ("conv2",))


def test_neighbors_are_merged() -> None:
    """A group is tried at a time, so that a deep network takes no longer than a flat one."""
    assert group_layers(chain([1] * 6), most=2).groups == (
        ("conv0", "conv1", "conv2"),
        ("conv3", "conv4"),
    )


def ranges_of(model: onnx.ModelProto, folder: Path, batches: Sequence[Batch]) -> object:
    (folder / "chain.onnx").write_bytes(model.SerializeToString())

    class Images:
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int) -> Batch:
            return batches[index]

    return measure_ranges(folder / "chain.onnx", Images(), on_step=lambda _: None)["minmax"]


IMAGES = [
    np.random.default_rng(seed).integers(0, 256, (1, 4, 4, 3), dtype=np.uint8) for seed in range(3)
]


def test_activations_are_u8_and_weights_s8_by_channel(tmp_path: Path) -> None:
    """U8 with S8 is what processors with VNNI multiply at full speed."""
    model = chain([1, 2, 1])
    before = model.SerializeToString()

    quantized = quantize(
        model,
        ranges_of(model, tmp_path, IMAGES),
        reduced=False,
        in_float=["turn", "cast", "conv2"],
    )

    tensors = {tensor.name: tensor for tensor in quantized.graph.initializer}
    assert tensors["layer1.weight_quantized"].data_type == TensorProto.INT8
    assert list(tensors["layer1.weight_scale"].dims) == [3]
    assert tensors["v1_zero_point"].data_type == TensorProto.UINT8
    assert "layer2.weight" in tensors
    assert model.SerializeToString() == before


def test_layer_that_loses_most_is_ranked_first(tmp_path: Path) -> None:
    """The second layer makes two channels a thousand times smaller than the third.

    In 8 bits both become zero.
    """
    model = chain([1, 1, 1, 1])
    uneven = np.diag(np.array([0.001, 0.0011, 1], np.float32))[:, :, None, None]
    even = np.diag(np.array([1000, 1000, 0.001], np.float32))[:, :, None, None]
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(uneven, "layer1.weight"))
    model.graph.initializer[3].CopyFrom(numpy_helper.from_array(even, "layer3.weight"))
    ranges = ranges_of(model, tmp_path, IMAGES)

    ranked = rank_by_sensitivity(
        model,
        ranges,
        group_layers(model, most=24),
        batches=IMAGES,
        reduced=False,
        on_step=lambda _: None,
    )

    assert ranked[0] == ("conv1",)


@pytest.fixture
def candidate(candidates: Mapping[str, Candidate]) -> OnnxCandidate:
    onnx_candidate = candidates["onnx"]
    assert isinstance(onnx_candidate, OnnxCandidate)
    return onnx_candidate


def search_on(
    artifacts: Path, candidate: OnnxCandidate, images: datasets.Dataset, *, labeled: bool
) -> OnnxSearch:
    checkpoint = load_checkpoint(artifacts / "best.pt")
    card = structs.replace(checkpoint.card, precision="int8")
    val = Streets(split="val", count=3, height=45, width=60)
    plan = make_plan(
        checkpoint.network(),
        card,
        images=DatasetSplit(source="streets val", dataset=val, indices=[0, 1, 2], labeled=labeled),
        calibration=CalibrationImages(
            source="streets train", dataset=images, indices=(0, 1), spec=card.input
        ),
        max_miou_drop=0.01,
    )
    return OnnxSearch(candidate, card, CandidateEvaluator(plan))


@pytest.mark.slow
def test_search_finds_a_file_in_eight_bits(artifacts: Path, candidate: OnnxCandidate) -> None:
    """Three rules and 7-bit weights are tried, and the file is a third of its size."""
    search = search_on(
        artifacts, candidate, Streets(split="train", count=2, height=45, width=60), labeled=True
    )

    found, chosen = next(iter(search))

    assert [one.name.split(",")[0] for one in search.tried[:3]] == [
        "minmax",
        "percentile",
        "entropy",
    ]
    assert search.tried[3].name.endswith(", 7-bit weights")
    assert chosen in search.tried
    assert chosen.parity.passed
    assert found.precision == "int8"
    assert "QuantizeLinear" in {node.op_type for node in found.model.graph.node}
    assert chosen.conversion["calibration_source"] == "streets train"


class Dark:
    """Black images, on which nothing can be calibrated."""

    classes = CLASSES
    names = ("a", "b")
    rule = ""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        return Sample(
            image=np.zeros((45, 60, 3), np.uint8), mask=np.zeros((45, 60), np.uint8), name=""
        )


@pytest.mark.slow
def test_search_leaves_more_and_more_in_float_and_then_gives_up(
    artifacts: Path, candidate: OnnxCandidate
) -> None:
    """Calibrated on dark images, the network fails on bright ones.

    A file with half of its layers in float32 must not pass as int8.
    """
    search = search_on(artifacts, candidate, Dark(), labeled=False)

    assert list(search) == []
    assert [one.name.partition("weights, ")[2] or one.name for one in search.tried[4:]]
    assert all(not one.parity.passed for one in search.tried)
    assert len(search.tried[-1].conversion["in_float32"]) > 0


def test_network_of_one_layer_cannot_be_quantized(
    artifacts: Path, candidate: OnnxCandidate
) -> None:
    """Its only layer is the first and the last."""
    with pytest.raises(ExportError, match="no layers between"):
        search_on(artifacts, replace(candidate, model=chain([1])), Dark(), labeled=False)


@pytest.mark.slow
def test_command_writes_an_int8_file_beside_the_other(
    artifacts: Path,
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [
        "--dataset",
        "camvid",
        "--data",
        str(tiny_camvid),
        "--max-miou-drop",
        "5",
        "-o",
        "small.onnx",
        "--json",
    ]

    main(["export", str(artifacts / "best.pt"), "--precision", "int8", *arguments])

    out, err = capsys.readouterr()
    result = json.loads(out)[0]
    assert "camvid train has 12 images; a calibration needs 64 to be reliable" in err
    card = read_card(tmp_path / "small.onnx")
    assert card.precision == result["precision"] == "int8"
    assert card.conversion["calibration_pictures"] == 12
    assert result["parity"]["pictures"] == 3
    assert len(result["candidates"]) >= 4
    assert card.parity is not None
    assert card.parity.passed
    main(["verify", "small.onnx", "--device", "cpu"])


def test_calibration_without_a_dataset_gets_one_sentence(
    artifacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "export",
                str(artifacts / "best.pt"),
                "--precision",
                "int8",
                "-o",
                str(tmp_path / "x.onnx"),
            ]
        )

    assert stop.value.code == 2
    assert "calibrated on the training split" in capsys.readouterr().err
