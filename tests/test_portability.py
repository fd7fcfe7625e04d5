"""Windows and macOS: nothing calls what they lack, and the commands do without it."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy.serving.engine.access import read_keys
from segdeploy.system.toml import read_toml
from tests.helpers.lesser_system import LINUX, MODULES, NAMES

ROOT = Path(__file__).parents[1]

OTHER_WAY = ROOT / "segdeploy" / "system" / "posix.py"
"""The one file that calls them, each beside what other systems do instead."""

READS_LINUX = {"segdeploy/system/machine.py", "benchmarks/measure"}
"""Files whose paths below /proc and /sys are read only where they are."""

POSIX_ONLY = {f"{module.__name__}.{name}" for module, names in NAMES.items() for name in names}


def sources() -> Iterator[Path]:
    """Yield the files of the package, without generated ones."""
    for room in ("segdeploy", "train", "export", "benchmarks"):
        for path in (ROOT / room).rglob("*.py"):
            if path != OTHER_WAY and "generated" not in path.parts:
                yield path


def posix_calls(tree: ast.AST) -> Iterator[str]:
    """Yield the names in a file that only POSIX has."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            yield from (name for name in [module, *(n.name for n in node.names)] if name in MODULES)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in POSIX_ONLY:
            yield ast.unparse(node)


def test_posix_is_called_in_one_file() -> None:
    """A call that Windows lacks is an AttributeError on most laptops, and no test here sees it."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources()
        for name in posix_calls(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert found == []


def test_paths_of_linux_are_read_in_one_file() -> None:
    """Elsewhere there is no /proc and no /sys."""
    found = [
        f"{name}: {node.value}"
        for path in sources()
        if not any((name := path.relative_to(ROOT).as_posix()).startswith(r) for r in READS_LINUX)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(tuple(f"{folder}/" for folder in LINUX))
    ]

    assert found == []


def test_text_is_opened_as_utf8() -> None:
    """Without a name of the encoding, Windows reads and writes cp1252."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"read_text", "write_text"}
        # The metadata of packages and the options' output know theirs.
        and ast.unparse(node.func) not in {"found.read_text", "output.write_text"}
        and not any(keyword.arg == "encoding" for keyword in node.keywords)
    ]

    assert found == []


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_text_of_windows_is_read(tmp_path: Path, mark: bytes) -> None:
    """Its editors end lines with CR LF, and begin a file with a byte order mark."""
    (tmp_path / "a.toml").write_bytes(mark + b'name = "road"\r\n')
    (tmp_path / "keys").write_bytes(mark + b"# ours\r\n0123456789abcdef0123456789abcdef\r\n")

    assert read_toml(tmp_path / "a.toml") == {"name": "road"}
    assert read_keys(tmp_path / "keys") == ["0123456789abcdef0123456789abcdef"]


def run_lesser(*arguments: str | Path, folder: Path) -> str:
    """Run a command on the lesser system, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.lesser_system", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        text=True,
        encoding="cp1252",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_film_and_images_without_posix(tmp_path: Path) -> None:
    """An open file cannot be renamed there: the finished film kept its temporary name."""
    run_lesser("data", "render", "--video", "drive.mp4", "--seconds", "1", folder=tmp_path)
    run_lesser("run", "--video", "drive.mp4", "--save", "overlay,jsonl", folder=tmp_path)
    run_lesser("data", "preview", "--dataset", "streets", folder=tmp_path)
    run_lesser("run", "preview.png", "--save", "mask,overlay", folder=tmp_path)
    run_lesser("verify", "street-int8", folder=tmp_path)
    run_lesser("doctor", folder=tmp_path)

    written = {path.name for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    assert written == {"drive-overlay.mp4", "drive-frames.jsonl", "preview.png", "preview.jpg"}


@pytest.mark.slow
def test_training_and_export_without_posix(tmp_path: Path) -> None:
    """Workers start by `spawn`, and checkpoints replace each other."""
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            image = np.full((32, 48, 3), 40 * number, np.uint8)
            mask = np.repeat(np.uint8([0, 1]), 24)[None].repeat(32, axis=0)
            for kind, content in (("images", image), ("masks", mask)):
                path = tmp_path / "data" / kind / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), content)

    run_lesser("data", "init", "data", folder=tmp_path)
    sizes = ["--imgsz", "32,48", "--set", "batch=2", "--set", "workers=1"]
    run_lesser(
        "train", "--data", "data", "--epochs", "1", "--name", "small", *sizes, folder=tmp_path
    )
    best = tmp_path / "runs" / "train" / "small" / "best.pt"
    run_lesser("export", best, "--format", "onnx", folder=tmp_path)

    assert best.with_suffix(".onnx").is_file()
