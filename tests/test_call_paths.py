"""Files that a reader opens to follow a frame, an export, and a training step."""

import re
import subprocess
import sys
from functools import cache

import pytest

from tests.helpers.imports import ROOT

BEFORE = {"video": 50, "export": 47, "step": 21}
"""Number of files at commit 80fa947, counted by the same program."""

TOGETHER_BEFORE = 94
"""Number of different files in the three paths together then."""

MODULES_BEFORE = 72
"""Modules of ours that `segdeploy run` on a video imported then."""

TODAY, TOGETHER_TODAY = {"video": 58, "export": 48, "step": 17}, 89
"""Number of files now: a video and an export go through more of them than before the layout."""

HEADINGS = {
    "video": "A frame",
    "export": "A checkpoint through an export",
    "step": "A step of a training",
}


@cache
def files_of(path: str) -> list[str]:
    """Return the files that a call path goes through, in order."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.call_path", path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize("path", BEFORE)
def test_path_is_as_short_as_the_page_says(path: str) -> None:
    """docs/architecture.md lists the files of each path; threads may change their order."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.split(f"### {HEADINGS[path]}\n")[1].split("\n#")[0]

    found = files_of(path)

    assert sorted(re.findall(r"^\d+\. `([\w/.]+)`", section, re.MULTILINE)) == sorted(found)


@pytest.mark.slow
def test_no_path_becomes_longer() -> None:
    """Whoever adds a file to a path joins two others, or says here why it is worth it."""
    found = {path: set(files_of(path)) for path in BEFORE}

    assert len(set().union(*found.values())) <= TOGETHER_TODAY
    assert {path: len(files) for path, files in found.items() if len(files) > TODAY[path]} == {}


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="budgets, locks, bands, motion and caches are longer")
def test_three_paths_go_through_fewer_files() -> None:
    """To follow a frame, an export and a training step, a reader opens two thirds of the files."""
    found = {path: set(files_of(path)) for path in BEFORE}

    assert len(set().union(*found.values())) <= 0.65 * TOGETHER_BEFORE
    assert len(found["video"]) <= 0.65 * BEFORE["video"]
    assert len(found["step"]) <= 0.65 * BEFORE["step"]


@pytest.mark.slow
def test_run_imports_fewer_modules_than_before() -> None:
    """Each import delays the first frame."""
    code = (
        "import sys, tempfile, os; os.chdir(tempfile.mkdtemp())\n"
        "import cv2, numpy as np; cv2.imwrite('a.png', np.zeros((48, 64, 3), np.uint8))\n"
        "from segdeploy.cli.main import main\n"
        "main(['run', '--model', 'street', '--image', 'a.png', '--output', 'out'])\n"
        "print(sum(name.startswith('segdeploy') for name in sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert int(done.stdout.split()[-1]) < MODULES_BEFORE
