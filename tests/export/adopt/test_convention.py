"""How a network wants its images is found by labels, guessed by its norms, and always said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from segdeploy.card import IMAGENET_MEAN, IMAGENET_STD
from segdeploy.cli.main import main
from segdeploy.errors import ConfigError, ModelError
from segdeploy.export.adopt.adoption import adopt_model
from segdeploy.export.adopt.convention import (
    Convention,
    Told,
    conventions_to_try,
    describe,
    find_by_norms,
    norm_distance,
)
from segdeploy.imaging.io import read_image

COLORS = {"Sky": (120, 180, 230), "Road": (90, 90, 90), "Car": (200, 30, 30)}
"""Red, green, blue of the classes of `tiny_camvid`."""


def color_network(path: Path, convention: Convention, *, norm: bool = False) -> Path:
    """Write a network that returns the class of the nearest color, in a convention of its own."""
    colors = (np.array(list(COLORS.values())) / 255 - convention.mean) / convention.std
    if convention.bgr:
        colors = colors[:, ::-1]
    # The nearest color has the largest 2 x c - c^2.
    weight = numpy_helper.from_array(2 * colors.astype(np.float32)[..., None, None], "w")
    bias = numpy_helper.from_array(-(colors**2).sum(1).astype(np.float32), "b")
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y" if not norm else "v"])]
    constants = [weight, bias]
    if norm:
        stored = {"one": np.ones(3), "zero": np.zeros(3), **moments_of(colors)}
        constants += [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in stored.items()
        ]
        nodes.append(
            helper.make_node("BatchNormalization", ["v", "one", "zero", "mean", "var"], ["y"])
        )
    taken = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 24, 32])]
    given = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, 24, 32])]
    graph = helper.make_graph(nodes, "theirs", taken, given, initializer=constants)
    opset = helper.make_opsetid("", 14)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[opset], ir_version=7).SerializeToString()
    )
    return path


def moments_of(colors: np.ndarray) -> dict[str, np.ndarray]:
    """What a norm saw in training of images that are half sky, half road."""
    seen = np.concatenate([np.repeat(colors[:1], 50, 0), np.repeat(colors[1:2], 50, 0)])
    values = 2 * seen @ colors.T - (colors**2).sum(1)
    return {"mean": values.mean(0), "var": values.var(0)}


@pytest.mark.parametrize(
    "convention",
    [
        Convention(name="", mean=(0, 0, 0), std=(1 / 255,) * 3, bgr=True),
        Convention(name="", mean=IMAGENET_MEAN, std=IMAGENET_STD),
    ],
)
def test_labels_tell_the_convention(
    tmp_path: Path, tiny_camvid: Path, convention: Convention
) -> None:
    """The classes of the network are some of the dataset's, in another order."""
    path = color_network(tmp_path / "theirs.onnx", convention)

    adoption = adopt_model(path, classes="Sky,Road,Car", dataset="camvid", data=tiny_camvid)

    spec = adoption.card.input
    assert adoption.finding.source == "labels"
    assert (spec.mean, spec.std, spec.bgr) == (convention.mean, convention.std, convention.bgr)
    assert adoption.finding.table[0][1] > 0.98
    assert adoption.card.conversion["convention"] == adoption.finding.sentence
    assert "labeled images of camvid val" in adoption.finding.sentence


def test_command_prints_the_table_and_the_lead(
    tmp_path: Path, tiny_camvid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convention = Convention(name="", mean=(0, 0, 0), std=(1 / 255,) * 3, bgr=True)
    path = color_network(tmp_path / "theirs.onnx", convention)
    data = ["--dataset", "camvid", "--data", str(tiny_camvid), "--classes", "Sky,Road,Car"]

    main(["adopt", str(path), *data])
    text = capsys.readouterr().out
    main(["adopt", str(path), *data, "--rgb", "--json"])
    values = json.loads(capsys.readouterr().out)

    assert "BGR, [0, 255] (found: mIoU " in text
    assert " points more than " in text
    assert "RGB, [-1, 1]" in text
    assert values["input"]["bgr"] is False
    assert all(tried["convention"].startswith("RGB") for tried in values["input"]["tried"])


def test_batch_norms_give_a_guess_that_is_called_one(tmp_path: Path, tiny_camvid: Path) -> None:
    convention = Convention(name="", mean=(0.5,) * 3, std=(0.5,) * 3)
    path = color_network(tmp_path / "theirs.onnx", convention, norm=True)

    adoption = adopt_model(path, classes="Sky,Road,Car", files=(tiny_camvid / "train",))

    assert adoption.finding.source == "batch norm"
    assert adoption.finding.convention.name == "[-1, 1]"
    assert "a guess: its batch norms agree with it best" in adoption.finding.sentence


def test_convention_is_called_assumed_where_nothing_tells_it(
    tmp_path: Path, tiny_camvid: Path
) -> None:
    convention = Convention(name="", mean=(0, 0, 0), std=(1, 1, 1))
    path = color_network(tmp_path / "theirs.onnx", convention)

    adoption = adopt_model(path, classes="Sky,Road,Car", files=(tiny_camvid / "train",))

    assert adoption.finding.source == "assumed"
    assert "assumed: nothing in the file tells it" in adoption.finding.sentence


def test_data_have_a_mean_of_their_own(tiny_camvid: Path) -> None:
    """Some networks subtract the mean of their training set from 0 to 255."""
    image = read_image(next((tiny_camvid / "train").glob("*.png")))

    *_, of_data, _ = conventions_to_try(Told(bgr=False), [image])

    np.testing.assert_allclose(of_data.mean, image.mean((0, 1))[::-1] / 255)
    assert of_data.name == "[0, 255] less the data's mean"


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"mean": (0, 0, 0)}, "--mean is given and --std is not; give both, for example --std 1"),
        ({"std": (1, 1, 1)}, "--std is given and --mean is not; give both, for example --mean 0"),
        ({"white": 255.0}, "--range has no effect without --mean and --std"),
    ],
)
def test_half_a_convention_is_refused(told: dict[str, Any], text: str) -> None:
    """The other half would be a silent default."""
    with pytest.raises(ConfigError, match=text):
        Told(**told).numbers()


def test_numbers_of_a_usual_convention_are_called_by_its_name() -> None:
    numbers = Told(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), white=255).numbers()

    assert numbers is not None
    assert numbers.title == "RGB, ImageNet's mean and deviation"
    assert describe((0.1, 0, 0), (1, 1, 1)) == "mean 0.1,0,0, std 1,1,1 of [0, 1]"


def test_distance_of_norms_is_zero_for_what_they_saw() -> None:
    same = (np.array([1.0, 2.0]), np.array([4.0, 9.0]))
    shifted = (np.array([3.0, 2.0]), np.array([4.0, 9.0]))

    assert norm_distance([(same, same)]) == 0
    # One of two channels lies one deviation away.
    assert norm_distance([(shifted, same)]) == 0.5


def test_nearly_equal_guesses_are_decided_by_what_is_usual() -> None:
    rgb, bgr = conventions_to_try(Told(mean=(0, 0, 0), std=(1, 1, 1)), ())

    assert find_by_norms([rgb, bgr], [1.001, 1.0], source="x").convention == rgb
    assert find_by_norms([rgb, bgr], [2.0, 1.0], source="x").convention == bgr


def test_weights_that_are_no_numbers_are_refused() -> None:
    """A flipped bit makes one infinite; no convention is nearer than another then."""
    tried = conventions_to_try(Told(mean=(0, 0, 0), std=(1, 1, 1)), ())

    with pytest.raises(ModelError, match="not finite"):
        find_by_norms(tried, [float("nan"), 1.0], source="x")
