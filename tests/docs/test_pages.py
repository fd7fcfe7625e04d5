"""Every command and every program of README and docs runs as it is written, or says why not.

An HTML comment in the line before a block marks it: `<!-- not run: REASON -->`; `<!-- file: NAME
-->`, which the page asks to save under that name; `<!-- with a server -->`, whose port 8000 is that
of a running server. Blocks in languages other than the shell's and Python are data, and are parsed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segdeploy.imaging.io import write_image
from tests.helpers.clips import gray_frames, write_clip
from tests.helpers.imports import ROOT
from tests.helpers.server_process import ServerProcess

BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n)?(?P<indent> *)```(?P<language>[\w+-]*)[^\n]*\n"
    r"(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
SHELL = {"", "bash", "sh", "console"}
DATA = {
    "text", "toml", "json", "yaml", "ini", "nginx", "dockerfile", "mermaid", "bibtex",
}  # fmt: skip
MARK = re.compile(r"not run: .{10,}|file: [\w.]+|with a server")

GENERATED = {"performance.md", "performance-details.md"}
"""Pages that a command writes from reports; their blocks are its output."""

OWN_TESTS = {"python.md"}
"""Pages whose programs tests/api/test_examples.py runs from the beginning."""

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in GENERATED),
]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page.

    Attributes:
        where: Page and line.
        mark: What its comment says; "" without one.
    """

    where: str
    mark: str
    language: str
    text: str

    @property
    def kind(self) -> str:
        """What is done with it."""
        if self.language in DATA:
            return "data"
        return self.mark.partition(":")[0] or "run"


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            where=f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}",
            mark=found["mark"] or "",
            language=found["language"],
            text=re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE),
        )
        for found in BLOCK.finditer(text)
    ]


def test_every_block_is_run_or_marked() -> None:
    """A new language or a misspelled mark must not keep a block from being run."""
    counts: Counter[str] = Counter()
    for page in PAGES:
        found = blocks_of(page)
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^ *```", text, re.MULTILINE)) == 2 * len(found), page.name
        for block in found:
            assert block.language in SHELL | DATA | {"python"}, block.where
            if block.kind not in {"run", "data"}:
                assert MARK.fullmatch(block.mark), f"{block.where}: {block.mark}"
            counts[block.kind] += 1

    print(dict(counts))
    assert counts["run"] + counts["file"] + counts["with a server"] > counts["not run"]


def test_data_in_the_pages_is_valid() -> None:
    """Whoever copies a TOML or JSON file gets no error."""
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "toml":
                tomllib.loads(block.text)
            if block.language == "json":
                json.loads(block.text)


SMALLER = """#!/usr/bin/env bash
# segdeploy, with options after those of the page that make it take seconds instead of hours.
case " $* " in
  *" --resume"* | *" --help"*) more=() ;;
  " train "*) more=(--epochs 1 --imgsz 24,32 --batch 4 --workers 0 --device cpu --no-amp) ;;
  " run "*) more=(--overwrite) ;;
  " benchmark "*"--history"*) more=() ;;
  " benchmark "*) more=(--images 2 --rounds 1 --runs 2 --warm-up 1) ;;
  " export "*"int8"*) more=(--max-miou-drop 100) ;;
  *) more=() ;;
esac
case " $* " in
  *" --minutes "*) more+=(--minutes 0.3) ;;
  *" --image"*) more=() ;;
esac
# On tensors this small, threads wait longer than they compute.
export OMP_NUM_THREADS=1
exec PYTHON -m segdeploy "$@" "${more[@]}"
"""
"""Options are given once more; click takes the last ones."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_camvid: Path) -> Path:
    """Folder with the files that the pages name, all small, and a `segdeploy` of small sizes."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("docs")
    (folder / "bin").mkdir()
    program = folder / "bin" / "segdeploy"
    program.write_text(SMALLER.replace("PYTHON", sys.executable), encoding="utf-8")
    program.chmod(0o755)
    for name in ("python", "python3"):
        # A link would lead past the environment, which Python finds beside its program.
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    write_sources(folder, tiny_camvid)
    shell(
        folder,
        "segdeploy train --model unet --dataset camvid --data path/to/camvid"
        " --set arguments.width=4 --name unet-camvid\n"
        "cp runs/train/unet-camvid/best.pt best.pt\n"
        "cp runs/train/unet-camvid/recipe.toml recipe.toml\n"
        "segdeploy export best.pt --format onnx,torchscript --dynamic\n"
        "segdeploy export best.pt --precision int8\n"
        "segdeploy benchmark best.onnx --data path/to/camvid --output old\n",
    )
    return folder


def write_sources(folder: Path, camvid: Path) -> None:
    """Write the images, videos and datasets that the pages name."""
    for name in ("path/to/camvid", "path/to/mine", "camvid"):
        shutil.copytree(camvid, folder / name)
    shutil.copytree(camvid / "train", folder / "mine" / "images")
    shutil.copytree(camvid / "trainannot", folder / "mine" / "masks")
    for split in ("train", "val"):
        (folder / "path/to/fields" / split).mkdir(parents=True)
        for path in sorted((camvid / split).glob("*.png")):
            ids = cv2.imread(str(camvid / f"{split}annot" / path.name), cv2.IMREAD_UNCHANGED)
            stem = folder / "path/to/fields" / split / path.stem
            write_image(Path(f"{stem}.jpg"), cv2.imread(str(path)))
            write_image(Path(f"{stem}_ids.png"), np.where(ids == 3, 7, 0).astype(np.uint8))
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for name in ("street.jpg", "a.jpg", "portrait.jpg", "beach.jpg", "folder/b.jpg", "day/c.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_image(folder / name, image)
    cv2.imwrite(str(folder / "city.tif"), cv2.resize(image, (640, 480)))
    for name in ("dashcam.mp4", "drive.mp4", "long.mp4"):
        write_clip(folder / name, gray_frames(12))


def shell(folder: Path, script: str) -> None:
    """Run a script as bash does, and end at its first error."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


@pytest.fixture(scope="module")
def server(prepared: Path) -> Iterator[ServerProcess]:
    """A running server of best.onnx, and of the same file as `best`."""
    pytest.importorskip("starlette")
    running = ServerProcess(prepared / "best.onnx")
    try:
        yield running
    finally:
        running.stop()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [path for path in PAGES if blocks_of(path)], ids=lambda p: p.name)
def test_page_runs_as_written(
    page: Path,
    prepared: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A newcomer pastes a block of a page and gets what the page says, not an error."""
    folder = tmp_path / "here"
    shutil.copytree(prepared, folder, symlinks=True)
    known: dict[str, Any] = {"__name__": "__main__"}
    monkeypatch.chdir(folder)
    failures = []
    for block in blocks_of(page):
        text = block.text
        if block.kind == "with a server":
            text = text.replace(":8000", f":{request.getfixturevalue('server').port}")
        try:
            if block.kind == "file":
                Path(block.mark.removeprefix("file: ")).write_text(text, encoding="utf-8")
            elif block.kind in {"run", "with a server"} and block.language in SHELL:
                shell(folder, text)
            elif block.kind in {"run", "with a server"} and page.name not in OWN_TESTS:
                exec(compile(text, block.where, "exec"), known)
        except Exception as error:  # noqa: BLE001 - whatever a page's program raises
            failures.append(f"{block.where}: {error}")

    assert not failures, "\n\n".join(failures)
