"""`segdeploy run --output FILE`: one result under the name that the user wants."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy.imaging.io import read_ids
from segdeploy.video.reader import VideoSource
from tests.helpers.cli import run_cli
from tests.helpers.clips import gray_frames, write_clip


@pytest.fixture(autouse=True)
def _sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A film of three frames and two images."""
    monkeypatch.chdir(tmp_path)
    write_clip(Path("film.mp4"), gray_frames(3, height=60, width=80, step=10), rate=15)
    for name in ("a.png", "b.png"):
        cv2.imwrite(name, np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8))


def call(artifacts: Path, *arguments: str) -> int:
    return run_cli("run", "--model", artifacts / "best.onnx", *arguments)


def names() -> list[str]:
    """Return what lies there beside the sources."""
    known = {"film.mp4", "a.png", "b.png"}
    return sorted(path.name for path in Path().iterdir() if path.name not in known)


def test_a_film_gets_the_name_that_it_is_given(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`out.mp4` is a file and no folder; it is not replaced without `--overwrite`."""
    assert call(artifacts, "film.mp4", "--output", "out.mp4") == 0

    assert names() == ["out.mp4"]
    with VideoSource(Path("out.mp4")) as source:
        assert len(list(source)) == 3
    assert capsys.readouterr().out.startswith("out.mp4\n3 frames in ")
    assert call(artifacts, "film.mp4", "--output", "out.mp4") == 2
    assert "out.mp4 exists" in capsys.readouterr().err
    assert call(artifacts, "film.mp4", "--output", "out.mp4", "--overwrite") == 0
    assert names() == ["out.mp4"]


def test_a_missing_folder_of_the_file_is_made(artifacts: Path) -> None:
    """As that of a folder of results is."""
    assert call(artifacts, "film.mp4", "--output", "new/deep/out.mp4") == 0

    assert Path("new/deep/out.mp4").is_file()


@pytest.mark.parametrize(
    ("output", "save"),
    [
        ("out.png", "overlay"),
        ("out.JPG", "side"),
        ("out.png", "mask"),
        ("out.png", "color"),
        ("out.geojson", "geojson"),
        ("out.json", "coco"),
        ("out.jsonl", "jsonl"),
    ],
)
def test_an_image_gets_the_name_that_it_is_given(artifacts: Path, output: str, save: str) -> None:
    """Whatever is saved of it."""
    assert call(artifacts, "a.png", "--output", output, "--save", save) == 0

    assert names() == [output]
    if save == "mask":
        assert read_ids(Path(output)).shape == (30, 50)


def test_records_of_many_images_are_one_file(artifacts: Path) -> None:
    """One COCO file is the usual result of a folder."""
    assert call(artifacts, "film.mp4", "--output", "film.jsonl", "--save", "jsonl") == 0
    assert call(artifacts, "a.png", "b.png", "--output", "both.json", "--save", "coco") == 0

    assert len(Path("film.jsonl").read_text().splitlines()) == 3
    images = json.loads(Path("both.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["a.png", "b.png"]


def test_an_interrupted_file_is_resumed(artifacts: Path) -> None:
    """Its name in progress is the file's."""
    whole = ("film.mp4", "--output", "out.mp4", "--resume")

    assert call(artifacts, *whole) == 0
    assert call(artifacts, *whole) == 0

    assert names() == ["out.mp4"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.png", "b.png", "--output", "x.png"], "x.png is one file, and 2 images are several"),
        (["a.png", "--output", "x.png", "--save", "mask,overlay"], "mask,overlay are several"),
        (["a.png", "--output", "x.mp4"], "overlay of an image ends in .jpg or .jpeg or .png"),
        (["a.png", "--output", "x.jpg", "--save", "mask"], "mask of an image ends in .png"),
        (["film.mp4", "--output", "x.mkv"], "overlay of a video ends in .mp4"),
        (["film.mp4", "--output", "x.png"], "overlay of a video ends in .mp4"),
        (["film.mp4", "--output", "x.png", "--save", "mask"], "mask of a video is a folder"),
        (["film.mp4", "--output", "film.mp4", "--overwrite"], "film.mp4 is the source itself"),
        (["a.png", "--output", "./a.png"], "a.png is the source itself"),
        (["film.mp4", "--output", "x.mp4", "--name", "y"], "leave out --name"),
        (["film.mp4", "--output", "words"], "words is a file; name a folder"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    artifacts: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    """With the reason, and nothing is written or lost."""
    Path("words").write_text("words")
    sizes = {path.name: path.stat().st_size for path in Path().iterdir()}

    assert call(artifacts, *arguments) == 2

    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert {path.name: path.stat().st_size for path in Path().iterdir()} == sizes
