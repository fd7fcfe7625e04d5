"""User-defined networks and datasets, from a file named on the command line to a mask."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from segdeploy import datasets, models
from segdeploy.card import InputSpec, LabelClass, ModelCard
from segdeploy.cli.main import cli
from segdeploy.errors import ConfigError, ModelError
from segdeploy.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from segdeploy.system.plugins import LOADED, load_plugin
from segdeploy.train.command import check_data
from segdeploy.train.recipe import Recipe

NETWORK = """
from torch import nn
from segdeploy.models import register

@register("{name}")
class Mine(nn.Module):
    stride = 2

    def __init__(self, classes, *, width=4):
        super().__init__()
        layers = nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, classes, 1)
        self.layers = nn.Sequential(*layers)

    def forward(self, image):
        return self.layers(image)
"""


@pytest.fixture(autouse=True)
def importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, and restore the import path and the loaded plugins afterwards."""
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield
    sys.path[:] = before
    LOADED.clear()


def test_module_in_the_current_folder_registers(tmp_path: Path) -> None:
    """A console script has its own folder on the path and not the current one, which users mean."""
    (tmp_path / "of_dotted_name.py").write_text(NETWORK.format(name="dotted"))

    load_plugin("of_dotted_name")
    load_plugin("of_dotted_name")

    assert models.build("dotted", 2, width=3).stride == 2


def test_file_registers(tmp_path: Path) -> None:
    """A path may lead anywhere; workers find the module again by its name."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "of_path.py").write_text(NETWORK.format(name="path"))

    load_plugin("deep/of_path.py")

    assert "path" in models.names()
    assert sys.modules["of_path"].__file__ == str(tmp_path / "deep" / "of_path.py")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import no_such_library", "No module named 'no_such_library' .*failing_0.py, line 1"),
        ("x = 1\nraise ValueError('too\\nbad')", "ValueError: too bad .*failing_1.py, line 2"),
        ("def (", "SyntaxError: .*failing_2.py, line 1"),
        (NETWORK.format(name="unet"), "'unet' is registered twice"),
    ],
)
def test_plugin_that_fails_is_one_sentence(
    tmp_path: Path, code: str, sentence: str, request: pytest.FixtureRequest
) -> None:
    """It names the file and the line, without a traceback."""
    number = request.node.callspec.indices["code"]
    (tmp_path / f"failing_{number}.py").write_text(code)

    with pytest.raises(ConfigError, match=sentence) as caught:
        load_plugin(f"failing_{number}.py")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no_such_plugin", "no.such.plugin", "no_such_plugin.py"])
def test_a_missing_plugin_is_reported(name: str) -> None:
    """A typo, not a missing library of the plugin."""
    with pytest.raises(ConfigError, match=f"there is no plugin {name}"):
        load_plugin(name)


def test_a_file_named_like_a_library_is_refused(tmp_path: Path) -> None:
    """Python would import the library instead, and the network would not be registered."""
    (tmp_path / "json.py").write_text(NETWORK.format(name="hidden"))

    with pytest.raises(ConfigError, match="is hidden by the module 'json'"):
        load_plugin("json.py")


CLASSES = (LabelClass(name="sky", color=(0, 0, 255)), LabelClass(name="road", color=(90, 90, 90)))


def checkpoint(architecture: str, classes: tuple[LabelClass, ...] = CLASSES) -> Checkpoint:
    spec = InputSpec(height=24, width=32, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), stride=2)
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(4, len(classes), 1)
    )
    weights = {f"layers.{key}": value for key, value in layers.state_dict().items()}
    return Checkpoint(
        card=ModelCard(architecture=architecture, classes=classes, input=spec),
        weights=weights,
        state={},
    )


def test_a_checkpoint_of_an_unregistered_network_is_refused(tmp_path: Path) -> None:
    """The card names it; the user must provide its code."""
    save_checkpoint(tmp_path / "best.pt", checkpoint("nowhere"))

    with pytest.raises(
        ModelError,
        match="'nowhere' cannot be built, since it is not one of the built-in ones; give --plugin",
    ):
        load_checkpoint(tmp_path / "best.pt").network()


@pytest.mark.slow
def test_commands_take_a_plugin(tmp_path: Path) -> None:
    """A checkpoint whose network a plugin holds is run with it."""
    import cv2
    import numpy as np

    (tmp_path / "of_commands.py").write_text(NETWORK.format(name="commanded"))
    save_checkpoint(tmp_path / "best.pt", checkpoint("commanded"))
    cv2.imwrite("a.png", np.zeros((24, 32, 3), np.uint8))
    plugin = ["--plugin", "of_commands.py"]

    done = CliRunner().invoke(
        cli,
        ["run", "--model", "best.pt", "--image", "a.png", "--output", "out", *plugin],
        catch_exceptions=False,
    )

    assert done.exit_code == 0
    assert (tmp_path / "out").is_dir()


@pytest.mark.slow
def test_benchmark_takes_a_plugin(tmp_path: Path) -> None:
    """Each row is measured in a process of its own, which loads the plugin again."""
    (tmp_path / "of_benchmark.py").write_text(NETWORK.format(name="measured"))
    save_checkpoint(
        tmp_path / "best.pt",
        checkpoint("measured", tuple(datasets.load("streets", None, "val").classes)),
    )
    options = [
        "--dataset",
        "streets",
        "--images",
        "2",
        "--runs",
        "1",
        "--warm-up",
        "0",
        "--rounds",
        "1",
        "--threads",
        "1",
        "--output",
        "out",
    ]

    done = CliRunner().invoke(
        cli, ["benchmark", "best.pt", *options, "--plugin", "of_benchmark"], catch_exceptions=False
    )

    assert done.exit_code == 0
    assert (tmp_path / "out" / "report.json").is_file()


@pytest.mark.parametrize("command", ["train", "eval", "export", "run", "models", "benchmark"])
def test_a_command_reports_a_missing_plugin(command: str) -> None:
    """Before any other option is checked."""
    done = CliRunner().invoke(cli, [command, "--plugin", "no_such_plugin"])

    assert isinstance(done.exception, ConfigError)


def write_fields(data: Path) -> None:
    """Four images of the layout that docs/datasets.md describes, and its plugin, mine.py, beside
    them.
    """
    text = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    code = next(
        part.partition("```")[0]
        for part in text.split("```python\n")[1:]
        if "register_layout" in part
    )
    Path("mine.py").write_text(code)
    random = np.random.default_rng(0)
    for split, number in (("train", 0), ("train", 1), ("val", 2), ("val", 3)):
        (data / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(
            data / split / f"{number}.jpg"
        )
        Image.fromarray(random.choice(np.array([0, 7], np.uint8), (24, 32))).save(
            data / split / f"{number}_ids.png"
        )


@pytest.mark.slow
def test_data_commands_accept_the_layout_of_the_docs(tmp_path: Path) -> None:
    """What docs/datasets.md shows works as it stands, in processes of their own, and the next step
    can be pasted.
    """
    data = tmp_path / "my fields"
    write_fields(data)

    for command in (["check"], ["stats"], ["preview", "--output", "sheet.png"]):
        done = run(
            [sys.executable, "-m", "segdeploy", "data", *command, str(data), "--plugin", "mine.py"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "fields" in done.stderr
        assert f"--plugin {tmp_path / 'mine.py'}" in done.stderr
        assert f"'{data}'" in done.stderr

    assert Path("sheet.png").is_file()


BUILDER = """
import numpy as np
from segdeploy.card import LabelClass
from segdeploy.datasets import Sample, register

class Gray:
    classes = (LabelClass(name="a", color=(1, 2, 3)), LabelClass(name="b", color=(9, 9, 9)))
    names = ("only",)
    rule = "there is one"

    def __len__(self):
        return 1

    def __getitem__(self, index):
        image, mask = np.zeros((8, 8, 3), np.uint8), np.eye(8, dtype=np.uint8)
        return Sample(image=image, mask=mask, name="only")

@register("gray of a plugin")
def open_split(data, split):
    return Gray()
"""


def test_a_dataset_that_a_plugin_reads_itself_has_statistics(tmp_path: Path) -> None:
    """It has no layout, so that its files cannot be checked, and its pixels can be counted."""
    (tmp_path / "of_builder.py").write_text(BUILDER)

    result = CliRunner().invoke(
        cli,
        [
            "data",
            "stats",
            str(tmp_path),
            "--plugin",
            "of_builder.py",
            "--dataset",
            "gray of a plugin",
            "--json",
        ],
    )
    check_data(Recipe(model="unet", dataset="gray of a plugin", data=str(tmp_path)))

    assert [
        entry["pixels"] for entry in json.loads(result.stdout)["figures"]["val"]["classes"]
    ] == [56, 8]
