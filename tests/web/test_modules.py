"""The page's arithmetic in Node: the numbers of OpenCV, Pillow and this package, byte for byte."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from msgspec import to_builtins

from segdeploy.card import InputSpec
from segdeploy.imaging.postprocess import output_to_mask
from segdeploy.imaging.preprocess import to_batch
from segdeploy.inference.self_test import ExpectedOutput, built_in_image
from segdeploy.web import site
from tests.helpers.pages import require_node

PAGE = Path(site.__file__).parent / "page"

SCRIPT = """\
import {readFileSync, writeFileSync} from "node:fs";
const [page, scratch] = process.argv.slice(2);
const load = (name) => import(`file://${page}/${name}`);
const {toInput} = await load("resize.js");
const {toMask} = await load("upsample.js");
const {builtInImage, compare} = await load("self_test.js");
const cases = JSON.parse(readFileSync(`${scratch}/cases.json`));
const results = [];
for (const [index, {kind, spec, dims, height, width, expected}] of cases.entries()) {
  const read = () => readFileSync(`${scratch}/${index}.in`);
  const output = () => {
    const bytes = read();
    const data = dims.length === 3 ? new Uint8Array(bytes) :
      new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    return {data, dims};
  };
  if (kind === "compare") {
    results.push(await compare(output(), expected));
    continue;
  }
  results.push(null);
  const made = kind === "input" ? toInput({data: new Uint8Array(read()), height, width}, spec) :
    kind === "built-in" ? builtInImage(height, width) : toMask(output(), spec, {height, width});
  writeFileSync(`${scratch}/${index}.out`, made);
}
console.log(JSON.stringify(results));
"""


class Cases:
    """Cases that Node computes in one process."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._cases: list[dict[str, Any]] = []

    def add(self, given: npt.NDArray[Any], **values: Any) -> None:
        (self._scratch / f"{len(self._cases)}.in").write_bytes(
            np.ascontiguousarray(given).tobytes()
        )
        self._cases.append(values)

    def run(self) -> list[Any]:
        """Run Node, and return what each case returns."""
        (self._scratch / "cases.json").write_text(json.dumps(self._cases))
        script = self._scratch / "script.mjs"
        script.write_text(SCRIPT)
        command = [require_node(), str(script), str(PAGE), str(self._scratch)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        results: list[Any] = json.loads(done.stdout)
        return results

    def bytes_of(self, index: int) -> npt.NDArray[np.uint8]:
        return np.fromfile(self._scratch / f"{index}.out", np.uint8)


@pytest.fixture
def cases(tmp_path: Path) -> Cases:
    return Cases(tmp_path)


def spec_of(**values: Any) -> InputSpec:
    values = {"height": 24, "width": 32, "mean": (0.485, 0.456, 0.406), **values}
    return InputSpec(**values, std=(0.2, 0.2, 0.2))


def test_images_are_resized_as_by_the_package(cases: Cases) -> None:
    """A network sees the same numbers in the browser: halved, by areas, up, down, and padded."""
    rng = np.random.default_rng(0)
    sizes = [(96, 128), (48, 64), (37, 53), (24, 32), (11, 90), (97, 131), (72, 96), (1, 1)]
    rules = ["halving", "linear", "pillow-bilinear", "pillow-bicubic", "pillow-lanczos"]
    expected = []
    for rule in rules:
        for fit in ("stretch", "pad"):
            spec = spec_of(resample=rule, fit=fit)
            for height, width in sizes:
                image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                cases.add(image, kind="input", spec=to_builtins(spec), height=height, width=width)
                expected.append(to_batch([image[..., ::-1]], spec)[0])

    cases.run()

    for index, numbers in enumerate(expected):
        assert np.array_equal(cases.bytes_of(index), numbers.ravel()), index


def test_masks_are_those_of_the_package(cases: Cases) -> None:
    """The upsampling is exact: every label, at whole and broken ratios, up and down."""
    rng = np.random.default_rng(1)
    expected = []
    shapes = [(3, 6, 8), (11, 6, 8), (150, 6, 8), (2, 1, 1), (5, 24, 32)]
    for fit in ("stretch", "pad"):
        spec = spec_of(fit=fit)
        for shape in shapes:
            for height, width in [(24, 32), (96, 128), (97, 131), (10, 7), (300, 400)]:
                # Smooth numbers have uniform and mixed cells.
                logits = rng.normal(size=shape).astype(np.float32).cumsum(axis=2)
                cases.add(
                    logits,
                    kind="mask",
                    spec=to_builtins(spec),
                    dims=[1, *shape],
                    height=height,
                    width=width,
                )
                expected.append(output_to_mask(logits[None], spec, height=height, width=width))
        classes = rng.integers(0, 9, (24, 32), dtype=np.uint8)
        cases.add(
            classes, kind="mask", spec=to_builtins(spec), dims=[1, 24, 32], height=72, width=96
        )
        expected.append(output_to_mask(classes[None], spec, height=72, width=96))

    cases.run()

    for index, mask in enumerate(expected):
        assert np.array_equal(cases.bytes_of(index), mask.ravel()), index


def test_the_self_test_is_that_of_the_package(cases: Cases) -> None:
    """The page passes what `segdeploy verify` passes, and fails what it fails."""
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(1, 5, 30, 40)).astype(np.float32)
    stored = json.loads(ExpectedOutput.of(logits).to_json())
    classes = rng.integers(0, 5, (1, 100, 120), dtype=np.uint8)
    others = json.loads(ExpectedOutput.of(classes).to_json())
    nan = np.where(np.arange(40) == 1, np.nan, logits).astype(np.float32)
    for output, expected in [
        *((logits, stored), (logits * 1.02, stored), (logits[:, ::-1], stored), (nan, stored)),
        *((classes, others), (classes[:, ::-1], others), (logits[..., :20], stored)),
    ]:
        cases.add(
            output.astype(output.dtype), kind="compare", dims=list(output.shape), expected=expected
        )
    cases.add(np.zeros(1), kind="built-in", height=45, width=60)

    results = cases.run()

    assert [result["passed"] for result in results[:-1]] == [
        *(True, False, False, False),
        *(True, False, False),
    ]
    assert results[0]["agreement"] == 1
    assert results[1]["difference"] == pytest.approx(0.02, rel=1e-3)
    assert np.array_equal(cases.bytes_of(len(results) - 1), built_in_image(45, 60).ravel())
