"""What `segdeploy run` reads, and what it refuses before it reads a frame."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from segdeploy.backends.loading import load_backend
from segdeploy.cli.run_inputs import TorchOptions
from segdeploy.errors import ConfigError
from segdeploy.imaging.io import read_ids
from segdeploy.video.reader import VideoSource
from tests.helpers.cli import run_cli
from tests.helpers.clips import gray_frames, write_clip


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results go below the folder where the command is called."""
    monkeypatch.chdir(tmp_path)


def write_film(path: str, count: int, *, height: int = 60) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_clip(Path(path), gray_frames(count, height=height, width=80, step=10), rate=15)


def write_images(*paths: str) -> None:
    random = np.random.default_rng(0)
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(path, random.integers(0, 256, (30, 50, 3), np.uint8))


def frames_of(path: str) -> int:
    with VideoSource(Path(path)) as source:
        return len(list(source))


@pytest.mark.parametrize("options", [TorchOptions(compiled=True), TorchOptions(autocast=True)])
def test_exported_file_is_not_accelerated(artifacts: Path, options: TorchOptions) -> None:
    """An option that does nothing is worse than none: an exported file is what it is."""
    model = artifacts / "best.onnx"

    with pytest.raises(ConfigError, match=r"best\.onnx is not a checkpoint.*leave --autocast"):
        options.apply(load_backend(model, device="cpu", threads=1), model)


def test_films_folders_and_patterns_in_one_run(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each result lies under its own name, and films of one name do not overwrite each other."""
    write_film("dashcam.mp4", 4)
    write_film("night/dashcam.mp4", 2, height=40)
    write_images("photos/a.png", "photos/b.png", "more/a.png")
    Path("films.txt").write_text("night/dashcam.mp4\n")

    done = run_cli(
        *("run", "--model", artifacts / "best.onnx", "--save", "mask,overlay", "--json"),
        *("dashcam.mp4", "photos", "more/*.png", "films.txt"),
    )

    assert done == 0
    folder = Path("runs/run/sources")
    assert sorted(path.name for path in folder.iterdir()) == [
        "dashcam-2-mask",
        "dashcam-2-overlay.mp4",
        "dashcam-mask",
        "dashcam-overlay.mp4",
        "mask",
        "overlay",
    ]
    assert sorted(path.name for path in (folder / "mask").iterdir()) == [
        "a-2.png",
        "a.png",
        "b.png",
    ]
    assert frames_of(f"{folder}/dashcam-overlay.mp4") == 4
    assert frames_of(f"{folder}/dashcam-2-overlay.mp4") == 2
    assert read_ids(folder / "dashcam-2-mask" / "000001.png").shape == (40, 80)
    result = json.loads(capsys.readouterr().out)
    assert [(source["source"], source["frames"]) for source in result["sources"]] == [
        ("3 images", 3),
        ("dashcam.mp4", 4),
        ("night/dashcam.mp4", 2),
    ]
    assert len(result["outputs"]) == 6
    assert result["losses"] == []


def test_every_film_is_segmented(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second `--video` was once all that counted; masks are those of a run of its own."""
    write_film("a.mp4", 3)
    write_film("b.mp4", 2)
    common = ("run", "--model", artifacts / "best.onnx", "--save", "mask")

    assert run_cli(*common, "--video", "a.mp4", "--video", "b.mp4", "--output", "both") == 0
    assert run_cli(*common, "b.mp4", "--output", "one") == 0

    assert sorted(path.name for path in Path("both").iterdir()) == ["a-mask", "b-mask"]
    for path in Path("one/b-mask").iterdir():
        assert path.read_bytes() == (Path("both/b-mask") / path.name).read_bytes()
    assert capsys.readouterr().out.splitlines()[0] == "both/a-mask"


def test_one_film_that_cannot_be_read_does_not_end_the_others(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is reported, and so by the exit code."""
    Path("a.mp4").write_text("words")
    write_film("b.mp4", 2)

    done = run_cli("run", "--model", artifacts / "best.onnx", "a.mp4", "b.mp4", "--output", "out")

    assert done == 3
    assert frames_of("out/b-overlay.mp4") == 2
    lines = capsys.readouterr().err.splitlines()
    assert any("a.mp4 cannot be read as a video" in line for line in lines)
    assert "1 of 2 sources could not be read" in lines[-1]


def test_folders_below_folders(artifacts: Path) -> None:
    """With `--recursive` only."""
    write_images("photos/a.png", "photos/below/b.png")
    common = ("run", "--model", artifacts / "best.onnx", "--save", "mask", "photos")

    assert run_cli(*common, "--output", "flat") == 0
    assert run_cli(*common, "--output", "deep", "--recursive") == 0

    assert [path.name for path in Path("flat/mask").iterdir()] == ["a.png"]
    assert sorted(path.name for path in Path("deep/mask").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["a.mp4", "b.mp4", "--output", "-"], 2, "2 sources cannot go into a pipe"),
        (["a.mp4", "b.mp4", "--output", "x.mp4"], 2, "cannot go into x.mp4, which is one file"),
        (["a.mp4", "p.png", "--smooth", "ema"], 2, "images are not a sequence in time"),
        (["a.mp4", "p.png", "--start", "1"], 2, "images have no time"),
        (["a.mp4", "p.png", "--tile", "32"], 2, "--tile is for image files"),
        (["0", "rtsp://127.0.0.1/x"], 2, "rtsp://127.0.0.1/x and 0 never end"),
        (["p.png", "--decoder", "auto"], 2, "--decoder auto is for a video file"),
        (["b.mp4", "a.mp4", "--output", "old"], 2, "old/a-overlay.mp4 exists"),
        (["a.mp4", "nowhere.mp4"], 3, "there is no video nowhere.mp4"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_frame(
    artifacts: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    """A run must not end in the middle because of what its command line says."""
    write_film("a.mp4", 1)
    write_film("b.mp4", 1)
    write_images("p.png")
    Path("old").mkdir()
    Path("old/a-overlay.mp4").write_bytes(b"a film")

    assert run_cli("run", "--model", artifacts / "best.onnx", *arguments) == code

    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(Path().glob("runs/run/*"))
    assert [path.name for path in Path("old").iterdir()] == ["a-overlay.mp4"]


def test_nothing_that_can_be_read(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No other source is done then, and the report says why for each."""
    for name in ("a.mp4", "b.mp4"):
        Path(name).write_text("words")

    done = run_cli("run", "--model", artifacts / "best.onnx", "a.mp4", "b.mp4", "--json")

    assert done == 3
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)["losses"]) == 2
    assert "none of the 2 sources could be read" in shown.err.splitlines()[-1]
