"""Weights of other projects become checkpoints, whatever their trainer wrapped them in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segdeploy.cli.main import main
from segdeploy.errors import ConfigError, ModelError
from segdeploy.export.adopt.adoption import adopt_model
from segdeploy.export.adopt.config import Adoption
from segdeploy.export.adopt.state_dict import CONTAINERS
from segdeploy.imaging.io import write_image
from segdeploy.models.checkpoint import load_checkpoint
from segdeploy.models.registry import build

CLASS_MAP_FILE = '[[classes]]\nname = "blue"\n\n[[classes]]\nname = "red"\ncolor = [255, 0, 0]\n'

PLUGIN = """
from torch import nn
from segdeploy.models import register

@register("twice-{name}")
class Twice(nn.Module):
    stride = 4

    def __init__(self, classes: int, *, width: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, image):
        return self.last(self.first(image))
"""


def test_plain_weights_of_a_plugins_network_become_a_checkpoint(tmp_path: Path) -> None:
    """As the training code of another project saves them.

    With the optimizer beside, and DistributedDataParallel's prefix.
    """
    (tmp_path / "own_net.py").write_text(PLUGIN.format(name="a"))
    (tmp_path / "classes.toml").write_text(CLASS_MAP_FILE)
    weights = {
        "first.weight": torch.ones(5, 3, 3, 3),
        "first.bias": torch.ones(5),
        "last.weight": torch.ones(2, 5, 1, 1),
        "last.bias": torch.ones(2),
    }
    content = {
        "epoch": 3,
        "state_dict": {f"module.{name}": value for name, value in weights.items()},
    }
    torch.save(content, tmp_path / "theirs.pth")
    named = [
        "--plugin",
        str(tmp_path / "own_net.py"),
        "--model",
        "twice-a",
        "--argument",
        "width=5",
        "--imgsz",
        "8,12",
    ]

    main(
        ["adopt", str(tmp_path / "theirs.pth"), "--classes", str(tmp_path / "classes.toml"), *named]
    )

    checkpoint = load_checkpoint(tmp_path / "theirs-adopted.pt")
    assert checkpoint.card.arguments == {"width": 5}
    assert checkpoint.card.input.stride == 4
    assert torch.equal(checkpoint.network().network.last.weight, weights["last.weight"])


@pytest.mark.parametrize(
    ("content", "arguments", "code", "text"),
    [
        ({"a": 1}, ["--model", "unet", "--imgsz", "8"], 4, "holds no weights"),
        (
            {"a": torch.ones(1)},
            ["--model", "unet", "--imgsz", "8"],
            4,
            "do not fit unet: a is (1,) in the file and unknown",
        ),
        ({"a": torch.ones(1)}, ["--imgsz", "8"], 2, "name it with --model NAME, or with --code"),
        (
            {"a": torch.ones(1)},
            ["--model", "unet", "--imgsz", "8", "--dynamic"],
            2,
            "--dynamic cannot be used with",
        ),
        (
            {"a": torch.ones(1)},
            ["--model", "unet", "--imgsz", "8", "-o", "w.onnx"],
            2,
            "must end with .pt",
        ),
        (
            {"a": torch.ones(1)},
            ["--model", "nothing", "--imgsz", "8"],
            2,
            "there is no network 'nothing'",
        ),
    ],
)
def test_weights_that_cannot_be_used_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: object,
    arguments: list[str],
    code: int,
    text: str,
) -> None:
    (tmp_path / "classes.toml").write_text(CLASS_MAP_FILE)
    torch.save(content, tmp_path / "theirs.pth")

    with pytest.raises(SystemExit) as stop:
        main(
            [
                "adopt",
                str(tmp_path / "theirs.pth"),
                "--classes",
                str(tmp_path / "classes.toml"),
                *arguments,
            ]
        )

    assert stop.value.code == code
    assert text in capsys.readouterr().err


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, torch.Tensor]:
    """Weights of a small U-Net whose norms have no counters, as before PyTorch 0.4.1."""
    torch.manual_seed(0)
    weights = build("unet", 2, width=4, depth=2).state_dict()
    return {key: value for key, value in weights.items() if "num_batches" not in key}


def adopted(tmp_path: Path, content: object, **options: Any) -> Adoption:
    torch.save(content, tmp_path / "theirs.pth")
    write_image(tmp_path / "image.png", np.full((4, 4, 3), 90, np.uint8))
    given = {
        "architecture": "unet",
        "arguments": {"width": 4, "depth": 2},
        "imgsz": (32, 48),
        "classes": "a,b",
        "files": (tmp_path / "image.png",),
    }
    return adopt_model(tmp_path / "theirs.pth", **{**given, **options})


@pytest.mark.parametrize(
    ("container", "prefix"),
    [
        ({}, "module."),
        ({}, "_orig_mod."),
        ({}, "module._orig_mod."),
        ({"epoch": 1, "state_dict": {"loss.weight": torch.ones(2)}}, "model."),
        ({"n_averaged": torch.tensor(3)}, "module."),
        ({"model_ema": {}, "args": {"lr": 0.1}}, "ema_model.module."),
        ({"model": {"model_state_dict": {}}, "optimizer": {"state": {}}}, ""),
    ],
)
def test_weights_are_taken_out_of_what_trainers_put_them_in(
    tmp_path: Path, plain: dict[str, torch.Tensor], container: dict[str, Any], prefix: str
) -> None:
    """Compiled, distributed, averaged, of Lightning, and in tables within tables."""
    inner = container
    while True:
        below = [value for key, value in inner.items() if key in CONTAINERS]
        if not below:
            break
        inner = below[0]
    inner.update({f"{prefix}{key}": value for key, value in plain.items()})

    adoption = adopted(tmp_path, container)

    weights = load_checkpoint(adoption.path).weights
    assert all(torch.equal(weights[key], value) for key, value in plain.items())


def test_one_channel_is_found_from_the_names_of_two_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = build("unet", 1, width=4, depth=2).state_dict()

    adoption = adopted(tmp_path, weights, classes="road,crack", threshold=0.25)

    assert adoption.card.threshold == 0.25
    network = load_checkpoint(adoption.path).network()
    with torch.no_grad():
        logits = network(torch.zeros(1, 32, 48, 3, dtype=torch.uint8))
    assert logits.shape[1] == 2
    assert not logits[:, 0].any()


def test_half_precision_weights_become_float32(
    tmp_path: Path, plain: dict[str, torch.Tensor]
) -> None:
    adoption = adopted(tmp_path, {key: value.half() for key, value in plain.items()})

    assert load_checkpoint(adoption.path).weights["head.weight"].dtype == torch.float32


def test_weights_that_are_no_numbers_are_refused(
    tmp_path: Path, plain: dict[str, torch.Tensor]
) -> None:
    plain["head.bias"][0] = float("nan")

    with pytest.raises(ModelError, match=r"has NaN or infinity among the weights of head.bias"):
        adopted(tmp_path, plain)


def test_weights_of_torchvision_are_recognized(tmp_path: Path) -> None:
    """Without a name of the network and of its classes."""
    weights = build("torchvision:lraspp_mobilenet_v3_large", 21).network.state_dict()

    adoption = adopted(tmp_path, weights, architecture=None, arguments={}, classes="auto")

    assert adoption.card.architecture == "torchvision:lraspp_mobilenet_v3_large"
    assert adoption.card.classes[15].name == "person"


CODE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 1)
        self.last = nn.Conv2d(width, 3, 1)

    def forward(self, image):
        return {"out": self.last(self.first(image)), "boxes": None}
"""


def test_class_in_a_file_takes_the_place_of_a_plugin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What to run next names the file, since a checkpoint holds no code."""
    (tmp_path / "adopted_net.py").write_text(CODE)
    weights = {
        "first.weight": torch.ones(5, 3, 1, 1),
        "first.bias": torch.ones(5),
        "last.weight": torch.ones(3, 5, 1, 1),
        "last.bias": torch.arange(3.0),
    }
    torch.save(weights, tmp_path / "theirs.pth")
    code = f"{tmp_path / 'adopted_net.py'}:Net"

    main(
        [
            *("adopt", str(tmp_path / "theirs.pth"), "--code", code, "--argument", "width=5"),
            *("--imgsz", "8", "--proof-images", "1"),
        ]
    )

    assert f"--plugin {tmp_path / 'adopted_net.py'}" in capsys.readouterr().err
    checkpoint = load_checkpoint(tmp_path / "theirs-adopted.pt")
    assert checkpoint.card.architecture == "code:adopted_net.Net"
    assert len(checkpoint.card.classes) == 3
    assert checkpoint.network()(torch.zeros(1, 8, 8, 3, dtype=torch.uint8)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"code": "net.py"}, "'net.py' is not FILE.py:CLASS"),
        ({"code": "net.py:Net", "architecture": "unet"}, "both name a network; give one"),
        ({"code": "nothing.py:Net"}, "there is no plugin nothing.py"),
    ],
)
def test_code_that_cannot_be_loaded_is_refused(
    tmp_path: Path, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        adopted(tmp_path, {"a": torch.ones(1)}, **{"architecture": None, **options})
