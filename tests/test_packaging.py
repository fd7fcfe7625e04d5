"""setup.cfg, the wheel and the files on disk agree."""

import configparser
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from segdeploy.imaging.io import read_ids, write_image

ROOT = Path(__file__).parents[1]
SUBPACKAGES = ("train", "export", "benchmarks")


def on_disk() -> set[str]:
    """Files that belong into the wheel, by their name inside it."""
    found = {
        f"segdeploy/{path.relative_to(ROOT / 'segdeploy')}"
        for path in (ROOT / "segdeploy").rglob("*")
    }
    found |= {
        f"segdeploy/{path.relative_to(ROOT)}"
        for subpackage in SUBPACKAGES
        for path in (ROOT / subpackage).rglob("*")
    }
    endings = {
        *(".css", ".html", ".j2", ".js", ".md", ".onnx", ".png"),
        *(".proto", ".py", ".pyi", ".svg", ".toml", ".txt", ".wasm"),
    }
    return {
        name
        for name in found
        if Path(name).suffix in endings or Path(name).name in {"LICENSE", "py.typed"}
    }


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built once."""
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, because setuptools puts whatever an older build/ holds into the wheel.
    copy = tmp_path_factory.mktemp("source")
    for name in ("segdeploy", *SUBPACKAGES):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(copy),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(folder.glob("*.whl"))


def test_every_folder_is_in_setup_cfg() -> None:
    """Packages are listed explicitly; a forgotten one would be missing from the wheel."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "segdeploy").rglob("__init__.py")}
    folders |= {
        Path("segdeploy") / path.parent.relative_to(ROOT)
        for name in SUBPACKAGES
        for path in (ROOT / name).rglob("__init__.py")
    }

    assert listed == {".".join(folder.parts) for folder in folders}


@pytest.mark.slow
def test_wheel_has_every_file_on_disk(wheel: Path) -> None:
    """What works in a checkout works when it is installed."""
    with zipfile.ZipFile(wheel) as archive:
        carried = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert carried == on_disk()


def run_installed(wheel: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code on the wheel's files alone, from a folder that has a train.py of its own, with torch
    blocked.
    """
    place = wheel.parent / "installed"
    if not place.exists():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(place)
        (wheel.parent / "train.py").write_text("raise SystemExit('the wrong train')")
    blocked = "import sys; sys.modules['torch'] = None; sys.modules['onnx'] = None\n" + code
    environment = {**os.environ, "PYTHONPATH": str(place)}
    command = [sys.executable, "-c", blocked]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=wheel.parent, env=environment
    )


@pytest.mark.slow
def test_wheel_finds_its_packages_beside_a_train_py(wheel: Path) -> None:
    """A user's train.py does not hide ours."""
    code = (
        "import segdeploy, segdeploy.train, segdeploy.export, segdeploy.benchmarks;"
        " print(segdeploy.__file__, segdeploy.train.__file__)"
    )

    done = run_installed(wheel, code)

    assert done.returncode == 0, done.stderr
    assert all(
        str(wheel.parent / "installed" / "segdeploy") in name for name in done.stdout.split()
    )


@pytest.mark.slow
def test_wheel_runs_a_model_without_torch(tmp_path: Path, wheel: Path, artifacts: Path) -> None:
    """`pip install segdeploy` brings what setup.cfg says, which is enough to run an ONNX file."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert "torch" not in config["options"]["install_requires"]
    image = tmp_path / "street.png"
    write_image(image, np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8))
    arguments = [
        "run",
        "--model",
        str(artifacts / "best.onnx"),
        "--image",
        str(image),
        "--save",
        "mask",
        "--output",
        str(tmp_path / "out"),
    ]

    done = run_installed(wheel, f"from segdeploy.cli.main import main; main({arguments!r})")

    assert done.returncode == 0, done.stderr
    assert read_ids(tmp_path / "out" / "mask" / "street.png").shape == (45, 60)


@pytest.mark.slow
def test_wheel_runs_an_image_with_nothing_else(tmp_path: Path, wheel: Path) -> None:
    """The bundled model is part of the package."""
    image = tmp_path / "street.png"
    write_image(image, np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8))
    arguments = [
        "run",
        "--image",
        str(image),
        "--save",
        "mask",
        "--output",
        str(tmp_path / "out"),
    ]

    done = run_installed(wheel, f"from segdeploy.cli.main import main; main({arguments!r})")

    assert done.returncode == 0, done.stderr
    assert read_ids(tmp_path / "out" / "mask" / "street.png").shape == (45, 60)


@pytest.mark.slow
def test_editable_install_finds_the_mapped_packages(tmp_path: Path) -> None:
    """Developers use `pip install -e .`.

    The mapped folders must be found through it.
    """
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, system_site_packages=False)
    python = home / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    # The libraries of this environment serve; only segdeploy itself is installed anew.
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        site.stdout.strip(),
        "-e",
        str(ROOT),
    ]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    code = (
        "import segdeploy.train, segdeploy.export, segdeploy.benchmarks;"
        " print(segdeploy.train.__file__)"
    )
    found = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == str(ROOT / "train" / "__init__.py")
