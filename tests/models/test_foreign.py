"""Networks of other libraries and of users' own code are built by their names."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.foreign import find_logits
from segdeploy.models.registry import build, check_size, is_known
from segdeploy.system.plugins import load_plugin

CODE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, *, width: int) -> None:
        super().__init__(nn.Conv2d(3, width, 1), nn.Conv2d(width, 2, 1))

not_a_network = dict
"""


@pytest.mark.parametrize(
    ("output", "shape"),
    [
        (torch.zeros(2, 5), r"\(2, 5\)"),
        ({"boxes": torch.zeros(1)}, "dict"),
        (([torch.zeros(1)],), "list"),
    ],
)
def test_output_without_logits_is_reported(
    output: Tensor | Mapping[str, Tensor], shape: str
) -> None:
    """A detector or a classifier returns something else."""
    with pytest.raises(ModelError, match=f"the network returns {shape} and not logits"):
        find_logits(output)


def test_logits_are_the_first_of_several_outputs() -> None:
    """Auxiliary heads and labels of the whole image come after them."""
    logits = torch.zeros(1, 5, 2, 2)

    assert find_logits((logits, torch.ones(1))) is logits
    assert find_logits({"aux": torch.ones(1), "out": logits}) is logits


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("smp:Unet", {"encoder_name": "resnet18", "encoder_weights": "imagenet"}, (32, 32)),
        ("torchvision:lraspp_mobilenet_v3_large", {}, (32, 32)),
        (
            "hf:segformer",
            {"depths": [1] * 4, "hidden_sizes": [8] * 4, "num_attention_heads": [1] * 4},
            (8, 8),
        ),
    ],
)
def test_networks_of_libraries_return_logits(
    name: str, arguments: Mapping[str, object], shape: tuple[int, int]
) -> None:
    """Nothing is downloaded, whatever the arguments name."""
    pytest.importorskip(
        {"smp": "segmentation_models_pytorch", "hf": "transformers"}.get(
            name.partition(":")[0], "torchvision"
        )
    )

    network = build(name, 4, **arguments).eval()

    with torch.no_grad():
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 4, *shape)


def test_unknown_members_are_refused() -> None:
    for name in ("smp:Nothing", "torchvision:vgg", "hf:bert"):
        with pytest.raises(ConfigError, match="choose one of"):
            build(name, 2)
    with pytest.raises(ConfigError, match="other libraries are called code, hf, smp"):
        build("tf:Unet", 2)


def test_class_of_a_loaded_file_is_a_network(tmp_path: Path) -> None:
    """A card names it, and only what the user loads with --plugin is ever executed."""
    (tmp_path / "foreign_net.py").write_text(CODE)
    assert is_known("code:foreign_net.Net")
    with pytest.raises(ConfigError, match=r"name its file with --plugin FILE.py"):
        build("code:foreign_net.Net", 2, width=3)

    load_plugin(str(tmp_path / "foreign_net.py"))

    assert build("code:foreign_net.Net", 7, width=3)(torch.zeros(1, 3, 2, 2)).shape == (1, 2, 2, 2)
    with pytest.raises(ConfigError, match=r"cannot be built with .*depth.*--argument"):
        build("code:foreign_net.Net", 7, depth=3)
    with pytest.raises(ConfigError, match=r"returns dict and no nn.Module"):
        build("code:foreign_net.not_a_network", 7)


def test_networks_of_one_size_say_so() -> None:
    """Positions of a vision transformer are learned for one size."""
    pytest.importorskip("transformers")

    with torch.device("meta"):
        network = build("hf:dpt", 3, image_size=64, patch_size=16, hidden_size=12)

    with pytest.raises(ConfigError, match=r"takes images of 64x64 only, not of 32x32"):
        check_size(network, (32, 32), name="hf:dpt")
