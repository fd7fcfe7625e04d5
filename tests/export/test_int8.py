"""Eight bits: calibrated on the training split, judged by mIoU, refused where they spoil the
network.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec import structs
from onnx import TensorProto, helper, numpy_helper

from segdeploy import datasets
from segdeploy.arrays import Batch, NetworkOutput
from segdeploy.backends.loading import KINDS, read_card
from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.cli.main import main
from segdeploy.datasets.dataset import Sample, evenly_spaced
from segdeploy.datasets.synthetic.dataset import Streets
from segdeploy.errors import ConfigError, ExportError, QuantizationError
from segdeploy.export.calibration import (
    SAMPLED,
    Calibration,
    Collector,
    gather_calibration,
    thinned,
)
from segdeploy.export.command import in_words, show, show_trials
from segdeploy.export.exporter import ExportResult
from segdeploy.export.int8_candidates import (
    RUNS,
    CachedBackend,
    CandidateEvaluator,
    Int8Candidate,
    by_turns,
    preferred,
)
from segdeploy.export.onnx_format import OnnxCandidate
from segdeploy.export.onnx_int8 import Search, layers_of, quantize, rank
from segdeploy.export.proof import DatasetSplit
from segdeploy.export.torch_formats import TorchScriptCandidate
from segdeploy.export.torch_formats import to_torchscript as to_torchscript
from segdeploy.export.writer import Artifact, Candidate, Proving, make_best
from segdeploy.metrics.agreement import Parity
from segdeploy.models.checkpoint import load_checkpoint

CLASSES = (LabelClass(name="a", color=(0, 0, 0)), LabelClass(name="b", color=(1, 1, 1)))
SPEC = InputSpec(height=4, width=4, mean=(0, 0, 0), std=(1, 1, 1))
CARD = ModelCard(architecture="any", classes=CLASSES, input=SPEC)


def parity(*, miou: float | None = 0.5, agreement: float = 0.99, budget: float = 0.005) -> Parity:
    return Parity(
        agreement=agreement,
        boundary_agreement=1,
        class_agreement=(),
        largest_difference=0,
        miou=miou,
        reference_miou=None if miou is None else 0.5,
        images=1,
        source="",
        reference="",
        gate=0.98,
        max_miou_drop=budget,
    )


def trial(name: str, *, speed: float = 2, found: Parity | None = None) -> Int8Candidate:
    conversion = {"calibration": name}
    return Int8Candidate(
        name=name,
        parity=found or parity(),
        latency=10,
        float_latency=10 * speed,
        size=1,
        conversion=conversion,
    )


# --- which images ---


@pytest.mark.slow
def test_calibration_is_spread_over_the_training_split() -> None:
    """64 of the 400 scenes, and none that the network is judged on."""
    calibration = gather_calibration(CARD, dataset="streets", data=None, count=64)

    assert calibration.source == "streets train"
    assert calibration.indices == tuple(evenly_spaced(400, 64))
    assert calibration[0].shape == (1, 4, 4, 3)
    assert np.array_equal(calibration.some(1)[0], calibration[32])


def test_calibration_of_a_network_of_unknown_training_needs_a_name() -> None:
    """Random numbers would calibrate nothing, and no other images are known."""
    with pytest.raises(ConfigError, match="name one with --dataset"):
        gather_calibration(CARD, dataset=None, data=None, count=64)


# --- which ranges ---


def test_thinning_keeps_small_arrays_and_steps_by_odd_numbers() -> None:
    """An even step would see only every other channel or column."""
    assert len(thinned(np.zeros(SAMPLED // 2, np.float32))) == SAMPLED // 2
    assert np.diff(thinned(np.arange(4 * SAMPLED, dtype=np.float32))[:2]) == [5]


def test_extremes_are_those_of_all_numbers_and_percentiles_leave_out_the_rarest() -> None:
    """One outlier among a million stretches the extremes, and is nothing to the others."""
    values = np.random.default_rng(0).uniform(0, 1, 10**6).astype(np.float32)
    values[1] = 50
    collector = Collector()

    collector.collect({"x": [values]})
    collector.collect({"x": [values[:1] - 3]})
    ranges = {name: found["x"].range_value for name, found in collector.ranges().items()}

    assert ranges["minmax"] == (values[0] - 3, 50)
    assert float(ranges["percentile"][1]) < 5
    assert float(ranges["entropy"][1]) < 50


# --- which layers ---


def chain(weights: Sequence[float]) -> onnx.ModelProto:
    """A graph of 1x1 convolutions of three channels, each multiplying by one number.

    The last one gives the logits.
    """
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], name="turn", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["v0"], name="cast", to=TensorProto.FLOAT),
    ]
    tensors = []
    for place, weight in enumerate(weights):
        tensors.append(
            numpy_helper.from_array(
                np.eye(3, dtype=np.float32)[:, :, None, None] * np.float32(weight),
                f"layer{place}.weight",
            )
        )
        nodes.append(
            helper.make_node(
                "Conv",
                [f"v{place}", f"layer{place}.weight"],
                [f"v{place + 1}"],
                name=f"conv{place}",
            )
        )
    nodes[-1].output[0] = "logits"
    shape = ["N", 3, 4, 4]
    values = [
        helper.make_tensor_value_info(f"v{place}", TensorProto.FLOAT, shape)
        for place in range(len(weights))
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


def test_picture_and_logits_stay_in_float() -> None:
    """Before the first weight the image is prepared.

    The last layer's logits would become equal in 8 bits.
    """
    layers = layers_of(chain([1, 1, 1, 1]), most=24)

    assert layers.always_float == ("turn", "cast", "conv3")
    assert layers.groups == (("conv0",), ("conv1",), ("conv2",))


def test_neighbours_are_put_together() -> None:
    """A group is tried at a time, so that a deep network takes no longer than a flat one."""
    assert layers_of(chain([1] * 6), most=2).groups == (
        ("conv0", "conv1", "conv2"),
        ("conv3", "conv4"),
    )


def ranges_of(model: onnx.ModelProto, folder: Path, batches: Sequence[Batch]) -> object:
    from segdeploy.export.calibration import measure_ranges

    (folder / "chain.onnx").write_bytes(model.SerializeToString())

    class Pictures:
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int) -> Batch:
            return batches[index]

    return measure_ranges(folder / "chain.onnx", Pictures(), on_step=lambda _: None)["minmax"]


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

    In its 8 bits both become nothing.
    """
    model = chain([1, 1, 1, 1])
    uneven = np.diag(np.array([0.001, 0.0011, 1], np.float32))[:, :, None, None]
    even = np.diag(np.array([1000, 1000, 0.001], np.float32))[:, :, None, None]
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(uneven, "layer1.weight"))
    model.graph.initializer[3].CopyFrom(numpy_helper.from_array(even, "layer3.weight"))
    ranges = ranges_of(model, tmp_path, IMAGES)

    ranked = rank(
        model,
        ranges,
        layers_of(model, most=24),
        batches=IMAGES,
        reduced=False,
        on_step=lambda _: None,
    )

    assert ranked[0] == ("conv1",)


# --- which candidate ---


def test_fastest_that_passes_comes_first_and_equals_are_judged_by_score() -> None:
    """Speeds within 5% are noise; what loses too much is never chosen."""
    good, better = (
        trial("good", speed=2, found=parity(miou=0.5)),
        trial("better", speed=1.95, found=parity(miou=0.51)),
    )
    slow, spoilt = (
        trial("slow", speed=1, found=parity(miou=0.6)),
        trial("spoilt", speed=9, found=parity(miou=0.4)),
    )

    assert preferred([slow, good, spoilt, better]) == [better, good, slow]


class Counting:
    """Answers with nothing and counts how often it was asked."""

    card = CARD
    device = "fake"

    def __init__(self) -> None:
        self.count = 0

    def run(self, batch: Batch) -> NetworkOutput:
        self.count += 1
        return np.zeros((1, 2, 4, 4), np.float32)


def test_two_files_are_measured_by_turns() -> None:
    """By hand: the clock gives 1 ms to the first and 3 ms to the second each time, whatever the
    machine does between.
    """
    times = iter(
        time for turn in range(RUNS + 1) for time in (turn, turn + 0.001, turn + 0.5, turn + 0.503)
    )
    first, second = Counting(), Counting()

    latencies = by_turns(first, second, IMAGES, clock=lambda: next(times))

    assert latencies == (pytest.approx(1), pytest.approx(3))
    assert first.count == second.count == RUNS + 1


def test_reference_is_asked_once() -> None:
    """Six candidates are compared with the same answers."""
    counting = Counting()
    remembered = CachedBackend(counting)

    for picture in (*IMAGES, *IMAGES):
        remembered.run(picture)

    assert counting.count == len(IMAGES)
    assert (remembered.card, remembered.device) == (CARD, "fake")


def test_table_tells_what_was_lost(capsys: pytest.CaptureFixture[str]) -> None:
    show_trials(
        [
            trial("minmax", found=parity(miou=0.4951)),
            trial("entropy", speed=0.5, found=parity(miou=0.4)),
            trial("x", found=parity(miou=None)),
        ]
    )

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == [
        "minmax",
        "49.51%",
        "0.49",
        "99.00%",
        "10.0",
        "20.0",
        "2.00x",
        "0.0",
        "passes",
    ]
    assert lines[2] == [
        "entropy",
        "40.00%",
        "10.00",
        "99.00%",
        "10.0",
        "5.0",
        "0.50x",
        "0.0",
        "fails",
    ]
    assert lines[3] == ["x", "99.00%", "10.0", "20.0", "2.00x", "0.0", "passes"]


def test_table_of_a_refusal_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the results by a program gets none where there is none."""
    show_trials([trial("minmax")], stderr=True)

    out, err = capsys.readouterr()
    assert (out, "minmax" in err) == ("", True)


def test_file_that_is_slower_than_float32_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks for 8 bits wants speed; on some machines and networks there is none."""
    slow, fast = trial("entropy", speed=0.5), trial("minmax", speed=2)
    found = structs.replace(parity(), class_agreement=(1.0, None))

    for chosen in (slow, fast):
        card = structs.replace(CARD, conversion=chosen.conversion)
        artifact = Artifact(
            path=Path("best-int8.onnx"), size=1, card=card, parity=found, device="cpu"
        )
        show(ExportResult(artifact=artifact, trials=(slow, fast)))

    assert (
        capsys.readouterr().out.count(
            "int8 is slower than fp32 on this machine: 10.0 ms against 5.0 ms"
        )
        == 1
    )


@pytest.mark.parametrize(
    ("precision", "device", "told"),
    [
        ("bf16", "openvino CPU f32", 1),
        ("bf16", "openvino CPU bf16", 0),
        ("fp16", "openvino CPU f32", 1),
        ("fp16", "onnxruntime CPUExecutionProvider", 1),
        ("fp16", "onnxruntime CUDAExecutionProvider", 0),
        ("fp32", "openvino CPU f32", 0),
    ],
)
def test_proof_tells_where_half_precision_was_computed_in_float32(
    precision: str, device: str, told: int
) -> None:
    """Such a proof says nothing of the rounding that the file will have elsewhere."""
    found = structs.replace(parity(), class_agreement=(1.0, None))
    artifact = Artifact(
        path=Path("a.xml"),
        size=1,
        card=structs.replace(CARD, precision=precision),
        parity=found,
        device=device,
    )

    assert in_words(artifact).count(f"this device computes {precision} files in float32") == told


# --- the whole ---


class Given:
    """A search that gives what it is told to."""

    def __init__(self, found: Sequence[tuple[Candidate, Int8Candidate]]) -> None:
        self._found = found
        self.trials = [one for _, one in found]

    def __iter__(self) -> Iterator[tuple[Candidate, Int8Candidate]]:
        return iter(self._found)


def spoiled(artifacts: Path, amount: float) -> TorchScriptCandidate:
    network = load_checkpoint(artifacts / "best.pt").network()
    network.network.head.bias.data[3] += amount
    return to_torchscript(network, load_checkpoint(artifacts / "best.pt").card)


def best_of(artifacts: Path, folder: Path, search: Given) -> ModelCard:
    checkpoint = load_checkpoint(artifacts / "best.pt")
    path = folder / "best.torchscript"
    evidence = DatasetSplit(
        source="streets val",
        dataset=Streets(split="val", count=1, height=45, width=60),
        indices=[0],
        with_truth=False,
    )
    made = make_best(
        path,
        search,
        kind=KINDS[".torchscript"],
        network=checkpoint.network(),
        card=structs.replace(checkpoint.card, precision="int8"),
        proving=Proving(evidence=evidence, max_miou_drop=0.001),
    )
    assert read_card(path) == made.card
    return made.card


def test_candidate_that_fails_on_all_pictures_gives_way_to_the_next(
    artifacts: Path, tmp_path: Path
) -> None:
    """What some of the images allow the others may forbid."""
    search = Given(
        [(spoiled(artifacts, 9), trial("bold")), (spoiled(artifacts, 0), trial("careful"))]
    )

    card = best_of(artifacts, tmp_path, search)

    assert card.conversion == {"calibration": "careful"}
    assert card.parity is not None
    assert card.parity.max_miou_drop == 0.001


def test_network_that_every_candidate_spoils_is_refused(artifacts: Path, tmp_path: Path) -> None:
    with pytest.raises(
        QuantizationError,
        match=(
            r"int8 spoils this network; the best of 1 candidates \(bold\) has 50.00% mIoU where"
            r" float32 has 50.00%"
        ),
    ) as refusal:
        best_of(artifacts, tmp_path, Given([(spoiled(artifacts, 9), trial("bold"))]))

    assert [one.name for one in refusal.value.trials] == ["bold"]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def candidate(candidates: Mapping[str, Candidate]) -> OnnxCandidate:
    found = candidates["onnx"]
    assert isinstance(found, OnnxCandidate)
    return found


def search_on(
    artifacts: Path, candidate: OnnxCandidate, images: datasets.Dataset, *, with_truth: bool
) -> Search:
    card = structs.replace(load_checkpoint(artifacts / "best.pt").card, precision="int8")
    val = Streets(split="val", count=3, height=45, width=60)
    calibration = Calibration(
        source="streets train", dataset=images, indices=(0, 1), spec=card.input
    )
    evidence = DatasetSplit(
        source="streets val", dataset=val, indices=[0, 1, 2], with_truth=with_truth
    )
    return Search(
        candidate,
        card,
        CandidateEvaluator(calibration=calibration, evidence=evidence, max_miou_drop=0.01),
    )


@pytest.mark.slow
def test_search_finds_a_file_in_eight_bits(artifacts: Path, candidate: OnnxCandidate) -> None:
    """Three rules and 7-bit weights are tried, and the file is a third of its size."""
    search = search_on(
        artifacts, candidate, Streets(split="train", count=2, height=45, width=60), with_truth=True
    )

    found, chosen = next(iter(search))

    assert [one.name.split(",")[0] for one in search.trials[:3]] == [
        "minmax",
        "percentile",
        "entropy",
    ]
    assert search.trials[3].name.endswith(", 7-bit weights")
    assert chosen in search.trials
    assert chosen.parity.passed
    assert found.precision == "int8"
    assert "QuantizeLinear" in {node.op_type for node in found.model.graph.node}
    assert chosen.conversion["calibration_source"] == "streets train"


class Dark:
    """Images by which nothing can be calibrated."""

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
    """Calibrated in the dark the network sees no day.

    Half of it in float32 must not pass for int8.
    """
    search = search_on(artifacts, candidate, Dark(), with_truth=False)

    assert list(search) == []
    assert [one.name.partition("weights, ")[2] or one.name for one in search.trials[4:]]
    assert all(not one.parity.passed for one in search.trials)
    assert len(search.trials[-1].conversion["in_float32"]) > 0


def test_network_of_one_layer_cannot_be_quantized(
    artifacts: Path, candidate: OnnxCandidate
) -> None:
    """Its only layer is the first and the last."""
    with pytest.raises(ExportError, match="no layers between"):
        search_on(artifacts, replace(candidate, model=chain([1])), Dark(), with_truth=False)


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
    made = json.loads(out)[0]
    assert "camvid train has 12 images; a calibration is trusted from 64 on" in err
    card = read_card(tmp_path / "small.onnx")
    assert card.precision == made["precision"] == "int8"
    assert card.conversion["calibration_pictures"] == 12
    assert made["parity"]["pictures"] == 3
    assert len(made["candidates"]) >= 4
    assert card.parity is not None
    assert card.parity.passed
    main(["verify", "small.onnx", "--device", "cpu"])


def test_camera_without_training_pictures_gets_one_sentence(
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
