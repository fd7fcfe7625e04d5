"""The command: options override the recipe, and every mistake is one sentence."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from segdeploy.errors import ConfigError, DataError, ModelError, SegdeployError
from segdeploy.train.command import collect_values, find_last, read_options, train
from segdeploy.train.recipe import Recipe


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(train, list(arguments))


@pytest.fixture
def small(
    tiny_camvid: Path, one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A recipe of two quick epochs, in an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "small.toml"
    values = {
        "dataset": "camvid",
        "data": str(tiny_camvid),
        "epochs": 5,
        "imgsz": (24, 32),
        "batch": 4,
        "workers": 0,
        "threads": 1,
        "device": "cpu",
    }
    recipe.write_text(
        Recipe.from_dict({**values, "arguments": {"width": 2, "depth": 1}}, source="test").to_toml()
    )
    return recipe


@pytest.mark.slow
def test_trains_and_says_what_is_next(small: Path) -> None:
    """A line per epoch and the results on stdout; notes on stderr."""
    result = invoke(str(small), "--epochs", "2", "--name", "mine")

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("epoch 1/2  loss ")
    assert " left  worst: " in lines[0]
    assert all(word in lines[1] for word in ("pixel accuracy", "mIoU", "images/s"))
    assert lines[2].split() == ["class", "IoU", "Dice", "labeled", "pixels"]
    assert lines[14].startswith("mean ")
    assert lines[15].endswith("runs/train/mine/best.pt")
    assert all(Path(line.strip()).is_file() for line in lines[16:])
    assert "next: segdeploy export runs/train/mine/best.pt --format onnx" in result.stderr
    assert "epochs = 2" in Path("runs/train/mine/recipe.toml").read_text()
    assert 'dataset = "camvid"' in Path("runs/train/mine/recipe.toml").read_text()


@pytest.mark.slow
def test_same_name_gets_a_folder_of_its_own(small: Path) -> None:
    """No run overwrites another."""
    for _ in range(2):
        assert invoke(str(small), "--epochs", "1").exit_code == 0

    assert Path("runs/train/unet-camvid/best.pt").is_file()
    assert Path("runs/train/unet-camvid-2/best.pt").is_file()


def test_run_that_cannot_start_leaves_nothing(small: Path) -> None:
    """The folder is created once data, network and device are available."""
    result = invoke(str(small), "--data", "/nowhere")

    assert isinstance(result.exception, DataError)
    assert not Path("runs").exists()


def test_checks_the_data_first(small: Path, tiny_camvid: Path, tmp_path: Path) -> None:
    """A broken mask is found in the first second, not in the third hour."""
    data = tmp_path / "damaged"
    shutil.copytree(tiny_camvid, data)
    mask = cv2.imread(str(data / "trainannot/7.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(data / "trainannot/7.png"), mask[1:])

    result = invoke(str(small), "--data", str(data))

    assert isinstance(result.exception, DataError)
    assert "7.png is 32x23 but its image is 32x24" in str(result.exception)
    assert f"segdeploy data check {data} --dataset camvid" in str(result.exception)
    assert not Path("runs").exists()


def test_warnings_about_the_data_are_printed(
    small: Path, tiny_camvid: Path, tmp_path: Path
) -> None:
    """An image without a label only gives a warning."""
    data = tmp_path / "partly"
    shutil.copytree(tiny_camvid, data)
    cv2.imwrite(str(data / "trainannot/7.png"), np.full((24, 32), 11, np.uint8))

    result = invoke(str(small), "--data", str(data), "--epochs", "1")

    assert result.exit_code == 0, result.output
    assert "7.png labels no pixel" in result.stderr


@pytest.mark.slow
def test_dataset_is_detected_from_its_folder(small: Path, tiny_camvid: Path) -> None:
    """A folder of photographs is never the synthetic dataset."""
    small.write_text(
        "".join(
            line
            for line in small.read_text().splitlines(keepends=True)
            if not line.startswith(("dataset", "data "))
        )
    )

    result = invoke(str(small), "--data", str(tiny_camvid), "--epochs", "1")

    assert result.exit_code == 0, result.output
    assert f"{tiny_camvid} holds camvid" in result.stderr


def collect(*arguments: str) -> dict[str, Any]:
    """Return the values of the recipe that a command line stands for."""
    context = train.make_context("train", list(arguments))
    return collect_values(read_options(**context.params))


@pytest.mark.parametrize(
    ("arguments", "crop"),
    [
        (["--imgsz", "96,128"], (96, 128)),
        (["--imgsz", "180,480"], (180, 256)),
        (["--set", "imgsz=[128, 160]"], (128, 160)),
        (["--imgsz", "96,128", "--set", "crop=[0, 0]"], [0, 0]),
        (["--epochs", "3"], [192, 256]),
    ],
)
def test_crop_of_a_recipe_fits_another_size_of_the_input(
    arguments: list[str], crop: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--imgsz` alone is enough, and a crop that becomes another is noted."""
    values = collect("realtime-camvid", *arguments)

    assert values["crop"] == crop
    assert ("the crop becomes" in capsys.readouterr().err) == (
        values["crop"] not in ([0, 0], [192, 256])
    )


@pytest.mark.parametrize("recipe", ["unet-carvana", "realtime-camvid", "streets-demo"])
def test_recipe_takes_the_dataset_of_the_folder(recipe: str, tiny_camvid: Path) -> None:
    """A recipe is for other data than that of its name, unless a dataset is named."""
    assert collect(recipe, "--data", str(tiny_camvid))["dataset"] == "camvid"
    named = collect(recipe, "--data", str(tiny_camvid), "--dataset", "carvana")
    assert named["dataset"] == "carvana"


def test_arguments_of_a_recipe_are_its_own_networks(small: Path) -> None:
    """`--model` of another network leaves them out; those given beside it stay."""
    refused = invoke(str(small), "--model", "regseg", "--set", "arguments.nonsense=1")

    assert "nonsense" in str(refused.exception)
    assert "width" not in str(refused.exception)


@pytest.mark.slow
def test_weights_decide_normalization_and_arguments(small: Path) -> None:
    """Named or not, the network stays as it was trained; given values take precedence."""
    invoke(str(small), "--epochs", "1", "--name", "first", "--set", "mean=[0.1,0.2,0.3]")
    plain = [
        "--dataset",
        "camvid",
        "--data",
        tomllib.loads(small.read_text())["data"],
        "--imgsz",
        "24,32",
        "--device",
        "cpu",
        "--epochs",
        "1",
        "--threads",
        "1",
    ]
    again = [*plain, "--batch", "4", "--workers", "0", "--weights", "runs/train/first/best.pt"]

    results = [
        invoke(*again, "--name", "unnamed"),
        invoke(*again, "--name", "named", "--model", "unet"),
        invoke(*again, "--name", "given", "--set", "mean=[0.5,0.5,0.5]"),
    ]

    assert [result.exit_code for result in results] == [0, 0, 0], results[0].output
    read = [
        tomllib.loads(Path(f"runs/train/{name}/recipe.toml").read_text())
        for name in ("unnamed", "named", "given")
    ]
    assert [one["mean"] for one in read] == [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.5, 0.5, 0.5]]
    assert all(one["arguments"] == {"width": 2, "depth": 1} for one in read)
    assert isinstance(invoke(*again, "--set", "arguments.width=4").exception, ModelError)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("no-such-recipe",), ConfigError),
        (("--epochs", "0"), ConfigError),
        (("--model", "vnet", "--dataset", "streets"), ConfigError),
        (("--resume", "nowhere"), ModelError),
        (("--resume", "--epochs", "3"), ConfigError),
        (("--resume", "--name", "x"), ConfigError),
    ],
)
def test_mistakes_are_errors(
    small: Path, arguments: tuple[str, ...], error: type[SegdeployError]
) -> None:
    """Each has its own exit code, and none a traceback."""
    assert isinstance(invoke(*arguments).exception, error)


@pytest.mark.slow
def test_resume_refuses_a_finished_run(small: Path) -> None:
    """The newest run's last.pt is found; the run has nothing left to do."""
    invoke(str(small), "--epochs", "1", "--name", "done")

    for argument in ((), ("done",), ("runs/train/done",), ("runs/train/done/last.pt",)):
        result = invoke("--resume", *argument)
        assert isinstance(result.exception, ConfigError), result.output
        assert "ended after 1 epochs" in str(result.exception)


def test_newest_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest by the time of its checkpoint, not by its name."""
    monkeypatch.chdir(tmp_path)
    for name in ("b", "a"):
        folder = Path("runs/train") / name
        folder.mkdir(parents=True)
        (folder / "last.pt").write_bytes(b"")

    assert find_last("newest") == Path("runs/train/a/last.pt")
    assert find_last("b") == Path("runs/train/b/last.pt")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="an empty PATH hides the compiler there")
def test_machine_without_a_compiler_is_an_error(tmp_path: Path) -> None:
    """One sentence and the exit code of a runtime error, instead of a hundred lines of PyTorch."""
    arguments = [
        "sanity",
        "--compile",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--overfit",
        "2",
        "--imgsz",
        "16",
        "--set",
        "arguments.depth=1",
    ]
    hidden = {"PATH": "", "CXX": "", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-m", "segdeploy", "train", *arguments],
        env=os.environ | hidden,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "segdeploy: PyTorch cannot compile unet here (InvalidCxxCompiler: No working C++ compiler"
    )
    assert last.endswith("leave --compile out")
