"""Weights of other projects become checkpoints, whatever their trainer wrapped them in."""

from pathlib import Path

import pytest
import torch

from segdeploy.cli.main import main
from segdeploy.models.checkpoint import load_checkpoint

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
