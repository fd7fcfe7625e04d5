"""`segdeploy run --tile`: images of any size, tile by tile, into tiled files."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy.backends.loading import load_backend
from segdeploy.imaging.io import read_ids, read_image
from segdeploy.imaging.overlay import Painter, colorize
from segdeploy.inference.tiling import Tiler
from tests.helpers.cli import run_cli

pytest.importorskip("pyvips")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results go below the folder where the command is called."""
    monkeypatch.chdir(tmp_path)


def call(*arguments: str | Path) -> int:
    """Call `segdeploy run`, and return its exit code."""
    return run_cli("run", *arguments)


def write_noise(path: Path, height: int, width: int) -> np.ndarray:
    rough = np.random.default_rng(0).integers(
        0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8
    )
    image = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), image)
    return image


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_results_are_those_of_the_tiles(
    artifacts: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """Mask, colors and overlay of the same labels, at the image's own size."""
    image = write_noise(Path("a.png"), 130, 170)
    kinds = ("--save", "mask,color,overlay", "--tile-format", ending, "--json")

    assert (
        call(
            "--model",
            artifacts / "best.onnx",
            "--image",
            "a.png",
            "--tile",
            "45,60",
            "--overlap",
            "12",
            *kinds,
        )
        == 0
    )

    backend = load_backend(artifacts / "best.onnx")
    tiler = Tiler(backend, height=45, width=60, overlap=12)
    place = 0

    def read(count: int) -> np.ndarray:
        nonlocal place
        place += count
        return image[place - count : place]

    mask = np.concatenate([strip.mask for strip in tiler.strips(130, width=170, read=read)])
    folder = Path("runs/run/images")
    files = [str(folder / kind / f"a.{ending}") for kind in ("mask", "color", "overlay")]
    assert json.loads(capsys.readouterr().out)["outputs"] == files
    np.testing.assert_array_equal(read_ids(Path(files[0])), mask)
    np.testing.assert_array_equal(read_image(Path(files[1])), colorize(mask, backend.card.classes))
    np.testing.assert_array_equal(
        read_image(Path(files[2])),
        Painter(backend.card.classes, legend=False).paint(image, mask),
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--tile", "45,60", "--save", "coco"],
            "coco cannot be saved of images in tiles; choose from overlay,mask,color",
        ),
        (["--tile", "45,60", "--overlap", "20"], "at most a third, 15"),
        (["--tile", "0"], "is not a size"),
    ],
)
def test_options_that_tiles_refuse(
    artifacts: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    """One sentence, and nothing is written."""
    write_noise(Path("a.png"), 60, 70)

    assert call("--model", artifacts / "best.onnx", "--image", "a.png", *arguments) == 2

    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(Path().glob("runs/run/*"))


BOUNDED = """
import resource, sys
from pathlib import Path
import numpy as np
from segdeploy.imaging.large import image_writer
from segdeploy.cli.main import main

height, width = 4000, 6000
with image_writer(Path("large.tif"), height, width=width, bands=3) as add:
    for start in range(0, height, 500):
        add(np.full((500, width, 3), start // 20, np.uint8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    options = ["--tile", "400", "--save", "mask", "--latency"]
    main(["run", "--model", sys.argv[1], "--image", "large.tif", *options])
except SystemExit as error:
    assert not error.code
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of a process")
def test_memory_is_bounded_by_rows(artifacts: Path) -> None:
    """An image of 72 MB, whose logits of 11 classes would be 1,056 MB, needs a fraction of that."""
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(artifacts / "best.onnx")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert read_ids(Path("runs/run/images/mask/large.tif")).shape == (4000, 6000)
    assert float(done.stdout.splitlines()[-1]) < 300


def test_an_unreadable_image_is_left_out(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As without tiles: the others are done, and the exit code says that one is not."""
    Path("images").mkdir()
    write_noise(Path("images/a.png"), 50, 60)
    Path("images/b.png").write_bytes(b"words")
    write_noise(Path("images/c.bmp"), 50, 60)
    command = ("--model", artifacts / "best.onnx", "--tile", "45,60", "--overlap", "12")

    assert call(*command, "--image", "images", "--save", "mask", "--json") == 3

    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert [Path(path).name for path in report["outputs"]] == ["a.tif", "c.tif"]
    assert all(Path(path).is_file() for path in report["outputs"])
    assert len(report["losses"]) == 1
    assert "b.png" in report["losses"][0]
    assert "1 of 3 images could not be read" in shown.err
    assert call(*command, "--image", "images/b.png", "--output", "o") == 3
    assert "no image could be read" in capsys.readouterr().err


def test_a_map_becomes_maps_polygons_and_areas(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command line, and once more with --resume, which has nothing left to do."""
    maps = pytest.importorskip("tests.helpers.maps")
    pytest.importorskip("pyogrio")
    maps.write_map(Path("a.tif"), write_noise(Path("a.png"), 80, 90), nodata=0)
    kinds = "mask,confidence,overlay,gpkg,geojson,areas"
    command = ("--model", artifacts / "best.onnx", "a.tif", "--tile", "45,60", "--overlap", "12")
    options = ("--save", kinds, "--simplify", "1", "--min-area", "2", "--output", "out", "--json")

    assert call(*command, *options) == 0
    written = json.loads(capsys.readouterr().out)["outputs"]
    times = [Path(path).stat().st_mtime_ns for path in written]
    assert call(*command, *options, "--resume") == 0

    endings = [Path(path).suffix for path in written]
    assert endings == [".tif", ".tif", ".tif", ".gpkg", ".geojson", ".json"]
    assert [Path(path).stat().st_mtime_ns for path in written] == times
    capsys.readouterr()
    assert call(*command[:3], "--save", "gpkg") == 2
    assert "add --tile 512" in capsys.readouterr().err
    assert call(*command, "--save", "gpkg", "--output", "a.tif") == 2
    assert "ends in .gpkg" in capsys.readouterr().err
