"""The bundled models."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import segdeploy
from segdeploy import assets
from segdeploy.backends.loading import kind_of, read_card
from segdeploy.errors import ModelError
from segdeploy.imaging.io import read_ids, write_image
from segdeploy.inference.self_test import verify

ROOT = Path(__file__).parents[2]
MIB = 2**20


@pytest.fixture(scope="session")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a copy of the package without its models."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(
        ROOT / "segdeploy",
        folder / "segdeploy",
        ignore=shutil.ignore_patterns("__pycache__", "*.onnx"),
    )
    return folder


@pytest.fixture(scope="session")
def filled(copy: Path, tmp_path_factory: pytest.TempPathFactory, artifacts: Path) -> Path:
    """Folder with a copy of the package with a narrow U-Net under both names."""
    folder = tmp_path_factory.mktemp("filled")
    shutil.copytree(copy, folder, dirs_exist_ok=True)
    for name in assets.FILES.values():
        shutil.copy(artifacts / "best.onnx", folder / "segdeploy" / "assets" / name)
    return folder


def call(package: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with a copy of the package and no PyTorch to import."""
    code = (
        "import sys; sys.modules['torch'] = None; from segdeploy.cli.main import main;"
        f" main({list(arguments)!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(package)}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )


def write_noise(path: Path) -> None:
    write_image(path, np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8))


@pytest.mark.slow
def test_runs_with_only_an_image(filled: Path, tmp_path: Path) -> None:
    """The first command of a new user works, says which model ran, and needs no PyTorch."""
    write_noise(tmp_path / "street.png")

    done = call(filled, tmp_path, "run", "--image", "street.png", "--save", "mask")

    assert done.returncode == 0, done.stderr
    assert read_ids(tmp_path / "runs/run/images/mask/street.png").shape == (45, 60)
    notes = [line for line in done.stderr.splitlines() if line.startswith("no --model given")]
    assert len(notes) == 1
    assert "using the bundled model street" in notes[0]
    assert "not for commercial use" in notes[0]


@pytest.mark.slow
def test_a_named_model_takes_precedence(filled: Path, artifacts: Path, tmp_path: Path) -> None:
    """The bundled models are not mentioned then."""
    write_noise(tmp_path / "street.png")

    done = call(
        filled,
        tmp_path,
        "run",
        "--model",
        str(artifacts / "best.onnx"),
        "--image",
        "street.png",
        "--save",
        "mask",
    )

    assert done.returncode == 0, done.stderr
    assert "no --model" not in done.stderr


@pytest.mark.slow
def test_names_are_accepted_wherever_a_file_is(filled: Path, tmp_path: Path) -> None:
    """A user need not know where the package is installed."""
    inspected = call(filled, tmp_path, "inspect", "street-int8", "--json")
    assert (
        Path(json.loads(inspected.stdout)["path"]) == filled / "segdeploy/assets/street-int8.onnx"
    )
    assert call(filled, tmp_path, "verify", "street", "--device", "cpu").returncode == 0
    compared = call(
        filled,
        tmp_path,
        "compare",
        "street",
        "street-int8",
        "--dataset",
        "streets",
        "--images",
        "1",
        "--json",
    )
    assert json.loads(compared.stdout)["differing"] == 0


@pytest.mark.slow
def test_missing_models_are_reported_in_one_sentence(copy: Path, tmp_path: Path) -> None:
    """An installation without the files gives no traceback, and leaves nothing behind."""
    write_noise(tmp_path / "street.png")

    done = call(copy, tmp_path, "run", "--image", "street.png")

    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith(
        "segdeploy: this installation has no bundled models ("
    )
    assert "--model best.onnx" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["street.png"]


def test_a_name_is_found_in_the_folder(tmp_path: Path) -> None:
    """A missing file is named."""
    (tmp_path / "street.onnx").touch()

    assert assets.find("street", tmp_path) == tmp_path / "street.onnx"
    with pytest.raises(ModelError, match=r"street-int8\.onnx is missing"):
        assets.find("street-int8", tmp_path)


def test_a_path_is_not_a_bundled_name() -> None:
    """A user's file may have any name: a path never names a bundled model."""
    assert assets.locate(Path("street")) == Path("street")
    assert assets.locate("./street") == Path("street")


def test_a_bundled_model_is_called_by_its_name() -> None:
    """The next step that a command prints is short, and holds on another machine."""
    assert assets.short_name(assets.folder() / "street-int8.onnx") == "street-int8"
    assert assets.short_name(Path("runs/street.onnx")) == "runs/street.onnx"


@pytest.mark.parametrize(
    ("on_processor", "has_avx2", "name"),
    [(True, True, "street-int8"), (True, False, "street"), (False, True, "street")],
)
def test_the_file_suits_the_machine(*, on_processor: bool, has_avx2: bool, name: str) -> None:
    """int8 where it was measured to be faster."""
    assert assets.choose_model(on_processor=on_processor, has_avx2=has_avx2) == name


@pytest.mark.parametrize("name", assets.FILES)
def test_the_file_is_what_was_proven(name: str) -> None:
    """Its bytes, its card and its output are those of the export."""
    path = assets.find(name, assets.folder())

    assert verify(path, kind_of(path), device="cpu").result.agreement > 0.95
    card = read_card(path)
    assert card.precision == ("int8" if name.endswith("int8") else "fp32")
    assert card.parity is not None
    assert card.parity.passed


def test_the_models_are_small() -> None:
    """They are part of every installation."""
    files = {name: assets.find(name, assets.folder()).stat().st_size for name in assets.FILES}

    assert files["street-int8"] <= 5 * MIB
    assert (
        sum(path.stat().st_size for path in assets.folder().iterdir() if path.is_file()) <= 16 * MIB
    )


def test_the_models_say_where_they_come_from() -> None:
    """Data and their terms, and no folder of the machine that trained them."""
    card = read_card(assets.find("street", assets.folder()))

    assert card.training is not None
    assert card.training.dataset == "camvid"
    assert not card.training.recipe["data"]
    assert "CC BY-NC" in (assets.folder() / "LICENSE").read_text()
    assert "segdeploy train bundled-model" in (assets.folder() / "MODEL_CARD.md").read_text()


@pytest.mark.slow
def test_the_model_segments_a_street() -> None:
    """The streets are synthetic, and the network was not trained on them."""
    from segdeploy import datasets

    sample = datasets.load("streets", None, "val")[0]
    mask = segdeploy.load("street", device="cpu")(sample.image).mask

    assert (mask == sample.mask).mean() > 0.5


@pytest.mark.parametrize("name", sorted(assets.FILES))
def test_bundled_files_pass_onnxs_checker(name: str) -> None:
    """Other runtimes than ONNX Runtime demand that nodes stand in the order of execution."""
    onnx = pytest.importorskip("onnx")

    onnx.checker.check_model(onnx.load(assets.find(name, assets.folder())), full_check=True)
