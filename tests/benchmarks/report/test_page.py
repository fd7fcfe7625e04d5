"""The report in a real browser.

Nothing is missing, the console is empty, and the slider moves.
"""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from segdeploy import datasets
from segdeploy.benchmarks.measure.accuracy import MAX_WIDTH, Pair, draw_overlays, share_equal
from segdeploy.benchmarks.report.page import to_html
from segdeploy.benchmarks.results.latency import Latency
from segdeploy.benchmarks.results.report import Report, Row
from segdeploy.benchmarks.results.row import Accuracy, Round, RowResult, Setting
from segdeploy.benchmarks.results.variant import Variant
from segdeploy.imaging.overlay import Painter
from segdeploy.metrics.scores import Scores
from segdeploy.system.machine import describe_machine

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

PROBE = """<script>
addEventListener("load", () => {
  const input = document.querySelector(".pair input"), over = document.querySelector(".pair .over");
  const before = getComputedStyle(over).clipPath;
  input.value = 20;
  input.dispatchEvent(new Event("input"));
  document.title = JSON.stringify({
    images: [...document.images].map((image) => image.complete && image.naturalWidth > 0),
    drawings: [...document.querySelectorAll("svg")].map(
      (drawing) => drawing.getBoundingClientRect().height > 50),
    slid: [before, getComputedStyle(over).clipPath],
    overflow: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    page: getComputedStyle(document.body).backgroundColor,
  });
});
</script></body>"""


def report() -> tuple[Report, Pair]:
    """A report of one row beside its reference, and one rendered street, twice."""
    streets = datasets.load("streets", None, "val")
    sample = streets[0]
    shifted = np.roll(sample.mask, 9, 1)
    painter = Painter(streets.classes, legend=False)
    left, right = draw_overlays(sample.image, sample.mask, shifted, painter=painter)
    setting = Setting(
        architecture="unet", precision="fp32", input=(90, 120), device="fake cpu", threads=2
    )
    rows = []
    for name, time in (("best.pt", 40.0), ("best.onnx", 20.0)):
        latency = Latency(rounds=((time, time + 1, time + 2),))
        found = Round(
            setting=setting, cold_start=300.0, latency=latency, network=latency, peak_memory=10**8
        )
        scores = Scores(
            miou=0.7, pixel_accuracy=0.9, dice=0.8, iou=(0.7,) * len(streets.classes), pixels=10
        )
        accuracy = Accuracy(scores=scores, boundaries=scores.iou, labels=None, worst=(sample.name,))
        rows.append(
            Row(
                name=name,
                variant=Variant(artifact=name),
                size=10**6,
                result=RowResult(rounds=(found,), accuracy=accuracy),
            )
        )
    values = Report(
        created="2026-01-02T03:04:05+00:00",
        dataset="streets",
        split="val",
        images=(sample.name,),
        classes=tuple(entry.name for entry in streets.classes),
        reference="best.pt",
        runs=3,
        rounds=1,
        warm_up=1,
        machine=describe_machine(),
        load_after=None,
        video=None,
        rows=tuple(rows),
    )
    return values, Pair(
        row="best.onnx",
        image=sample.name,
        against="best.pt",
        same=share_equal(shifted, sample.mask),
        left=left,
        right=right,
    )


def test_pair_is_no_wider_than_a_page() -> None:
    """A report of 4K images must fit into an e-mail."""
    from io import BytesIO

    from PIL import Image

    image = np.zeros((1000, 2000, 3), np.uint8)
    left = np.full((1000, 2000), 255, np.uint8)
    left[:500] = 0
    right = np.zeros((1000, 2000), np.uint8)
    right[:125] = 1

    painter = Painter(datasets.load("streets", None, "val").classes)
    jpeg, _ = draw_overlays(image, left, right, painter=painter)

    assert Image.open(BytesIO(jpeg)).size == (MAX_WIDTH, MAX_WIDTH // 2)
    # Of the labeled upper half a quarter differs; what is not labeled is left out.
    assert share_equal(right, left) == 0.75


@pytest.mark.slow
@pytest.mark.parametrize(
    ("theme", "page"), [(1, "rgb(246, 246, 244)"), (0, "rgb(14, 16, 20)")], ids=["light", "dark"]
)
def test_page_works_in_a_browser(tmp_path: Path, theme: int, page: str) -> None:
    """No console error, every image loaded, a slider that moves, and nothing wider than the
    page.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    values, pair = report()
    (tmp_path / "report.html").write_text(
        to_html(values, [pair]).replace("</body>", PROBE), encoding="utf-8"
    )
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--virtual-time-budget=3000",
        "--window-size=500,900",
    ]

    done = subprocess.run(
        [
            browser,
            *options,
            f"--blink-settings=preferredColorScheme={theme}",
            f"--user-data-dir={tmp_path / 'browser'}",
            "--dump-dom",
            (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    found = json.loads(unescape(title[1]))
    assert "CONSOLE" not in done.stderr
    assert found["images"] == [True, True]
    assert found["drawings"] == [True] * 4
    assert found["slid"] == ["inset(0px 0px 0px 50%)", "inset(0px 0px 0px 20%)"]
    assert (found["overflow"], found["page"]) == (False, page)
