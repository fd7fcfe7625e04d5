"""`segdeploy run` as a user types it: results, messages and exit codes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from segdeploy.cli.run_outputs import wait_for_other_run
from segdeploy.imaging.io import read_ids
from segdeploy.inference.predictor import Predictor
from segdeploy.system.locks import claim, is_claimed
from segdeploy.video.reader import VideoSource
from tests.helpers.cli import run_cli
from tests.helpers.clips import gray_frames, write_clip, write_tone

posix = pytest.mark.skipif(os.name != "posix", reason="sends signals")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results go below the folder where the command is called."""
    monkeypatch.chdir(tmp_path)


def write_drive(
    path: Path, count: int = 15, *, audio: Path | None = None, noisy: bool = False
) -> Path:
    """Write a video of 80x60 at 15 fps."""
    random = np.random.default_rng(0)
    noise = (random.integers(0, 256, (60, 80, 3), dtype=np.uint8) for _ in range(count))
    frames = noise if noisy else gray_frames(count, height=60, width=80, step=10)
    return write_clip(path, frames, rate=15, audio=audio)


def call(*arguments: str | Path) -> int:
    """Call `segdeploy run`, and return its exit code."""
    return run_cli("run", *arguments)


def span(path: Path, kind: str) -> float:
    with av.open(str(path)) as clip:
        stream = clip.streams.get({kind: 0})[0]
        return float(stream.duration * stream.time_base)


@pytest.mark.parametrize("ending", ["onnx", "torchscript", "pt"])
def test_video_becomes_an_overlay_with_audio(
    artifacts: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """Every kind of artifact, one command."""
    clip = write_drive(Path("drive.mp4"), audio=write_tone(Path("tone.wav"), 1))

    assert call("--model", artifacts / f"best.{ending}", "--video", clip) == 0

    overlay = Path("runs/run/drive/drive-overlay.mp4")
    assert [path.name for path in overlay.parent.iterdir()] == [overlay.name]
    with VideoSource(overlay) as source:
        assert (source.width, source.height, source.rate, len(list(source))) == (80, 60, 15, 15)
    assert span(overlay, "audio") == pytest.approx(span(clip, "audio"), abs=0.01)
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{overlay}\n15 frames in ")
    assert " fps (wall time); " in shown.out
    assert "infer" in shown.out
    assert f"best.{ending} on " in shown.err
    assert "next: segdeploy " in shown.err


def test_masks_of_a_video_are_numbered(artifacts: Path) -> None:
    """Class indices, one file per frame, and no overlay without `--save overlay`."""
    clip = write_drive(Path("drive.mp4"), 3)

    assert (
        call(
            "--model", artifacts / "best.onnx", "--video", clip, "--save", "mask", "--name", "night"
        )
        == 0
    )

    folder = Path("runs/run/night/drive-mask")
    assert sorted(path.name for path in folder.iterdir()) == [
        "000000.png",
        "000001.png",
        "000002.png",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["drive-mask"]
    assert read_ids(folder / "000001.png").shape == (60, 80)


def test_images_files_and_folders(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--image a.jpg b.png DIR` is a common call."""
    from segdeploy.backends.loading import load_backend

    random = np.random.default_rng(0)
    Path("more").mkdir()
    for name in ("a.jpg", "b.png", "more/a.png", "more/c.png"):
        cv2.imwrite(name, random.integers(0, 256, (30, 50, 3), np.uint8))

    assert (
        call(
            "--model",
            artifacts / "best.onnx",
            "--image",
            "a.jpg",
            "b.png",
            "more",
            "--save",
            "mask,overlay",
            "--json",
        )
        == 0
    )

    result = json.loads(capsys.readouterr().out)
    assert result["outputs"] == ["runs/run/images/mask", "runs/run/images/overlay"]
    assert (result["frames"], result["losses"]) == (4, [])
    assert result["infer"]["total"] > 0
    assert sorted(path.name for path in Path("runs/run/images/mask").iterdir()) == [
        "a-2.png",
        "a.png",
        "b.png",
        "c.png",
    ]
    assert sorted(path.name for path in Path("runs/run/images/overlay").iterdir()) == [
        "a-2.jpg",
        "a.jpg",
        "b.jpg",
        "c.jpg",
    ]
    expected = Predictor(load_backend(artifacts / "best.onnx")).mask(cv2.imread("more/a.png"))
    np.testing.assert_array_equal(read_ids(Path("runs/run/images/mask/a-2.png")), expected)


def test_serial_gives_the_same_file(artifacts: Path) -> None:
    """The threads change the time only."""
    clip = write_drive(Path("drive.mp4"), noisy=True)

    assert call("--model", artifacts / "best.onnx", "--video", clip, "--output", "a") == 0
    assert (
        call("--model", artifacts / "best.onnx", "--video", clip, "--output", "b", "--serial") == 0
    )

    assert Path("a/drive-overlay.mp4").read_bytes() == Path("b/drive-overlay.mp4").read_bytes()


def test_unreadable_images_are_named(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is done, and the exit code shows that an image failed."""
    cv2.imwrite("good.png", np.zeros((8, 8, 3), np.uint8))
    Path("bad.png").write_bytes(b"no image")

    assert (
        call("--model", artifacts / "best.onnx", "--image", "bad.png", "good.png", "--save", "mask")
        == 3
    )

    shown = capsys.readouterr()
    assert "bad.png is not an image" in shown.err
    assert (
        shown.err.splitlines()[-1]
        == "segdeploy: 1 of 2 images could not be read; the others are done"
    )
    assert Path("runs/run/images/mask/good.png").exists()


def test_damaged_video_is_reported(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The good frames are written, and missing ones are reported on stderr."""
    clip = write_drive(Path("drive.mp4"), 30, noisy=True)
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) * 2 // 3])

    assert call("--model", artifacts / "best.onnx", "--video", clip, "--json") == 0

    shown = capsys.readouterr()
    result = json.loads(shown.out)
    lost = 30 - result["frames"]
    assert result["losses"] == [
        f"drive.mp4 is damaged: {lost} frames could not be decoded and had to be left out"
    ]
    assert result["losses"][0] in shown.err
    with VideoSource(Path(result["outputs"][0])) as source:
        assert len(list(source)) == result["frames"] > 10


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--model", "M"], 2, "name images"),
        (["--model", "M", "best.onnx", "clip.mp4"], 2, "write --model best.onnx"),
        (["--model", "M", "clip.mp4", "nowhere.png"], 3, "there is no nowhere.png"),
        (
            ["--model", "M", "--video", "clip.mp4", "--name", "x", "--output", "y"],
            2,
            "leave out --name",
        ),
        (
            ["--model", "M", "--video", "clip.mp4", "--save", "mask,video"],
            2,
            "'video' is none of overlay, mask",
        ),
        (
            ["--model", "M", "--video", "clip.mp4", "--name", "../x"],
            2,
            "is not a plain folder name",
        ),
        (["--model", "M", "--video", "clip.mp4", "--backend", "torch"], 2, "not by 'torch'"),
        (["--model", "M", "--video", "clip.mp4", "--device", "abacus"], 1, "'abacus'"),
        (["--model", "M", "--video", "nowhere.mp4"], 3, "there is no video nowhere.mp4"),
        (["--model", "M", "--image", "nowhere.png"], 3, "there is no nowhere.png"),
        (["--model", "M", "--video", "words.mp4"], 3, "words.mp4 cannot be read as a video"),
        (["--model", "nowhere.onnx", "--video", "clip.mp4"], 4, "there is no file nowhere.onnx"),
    ],
)
def test_bad_input_gets_one_sentence(
    artifacts: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    """The right exit code, no traceback, and nothing left behind."""
    write_drive(Path("clip.mp4"), 1)
    Path("words.mp4").write_text("words")

    assert (
        call(*[str(artifacts / "best.onnx") if text == "M" else text for text in arguments]) == code
    )

    last = capsys.readouterr().err.splitlines()[-1]
    assert sentence in last
    assert not list(Path().glob("runs/run/*"))


def test_onnx_needs_no_torch(artifacts: Path) -> None:
    """A robot or a server need not install the gigabytes of PyTorch."""
    write_drive(Path("drive.mp4"), 3)
    block = (
        "import sys; sys.modules['torch'] = sys.modules['torchvision'] = None; from"
        " segdeploy.cli.main import main; main(sys.argv[1:])"
    )

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            block,
            "run",
            "--model",
            str(artifacts / "best.onnx"),
            "--video",
            "drive.mp4",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert Path("runs/run/drive/drive-overlay.mp4").exists()


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
from segdeploy.cli.main import main
main(sys.argv[1:])
"""


@posix
@pytest.mark.slow
def test_full_disk_gets_one_sentence(artifacts: Path) -> None:
    """No space left: what was done is kept and named, no file looks finished, no traceback."""
    clip = write_drive(Path("drive.mp4"), 60, noisy=True)

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            LIMITED,
            "run",
            "--model",
            str(artifacts / "best.onnx"),
            "--video",
            str(clip),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "segdeploy: cannot finish runs/run/drive/drive-overlay.mp4: File too large; what was done"
        " is in runs/run/drive/drive-overlay.mp4.part, and --resume continues it"
    )
    assert "Traceback" not in done.stderr
    assert [path.name for path in Path("runs/run/drive").iterdir()] == ["drive-overlay.mp4.part"]


def start(artifacts: Path, clip: Path) -> "subprocess.Popen[str]":
    """Start a long run, and come back when it is in the middle of writing.

    The room for the index is written first.
    """
    command = [
        sys.executable,
        "-m",
        "segdeploy",
        "run",
        "--model",
        str(artifacts / "best.onnx"),
        "--video",
        str(clip),
        "--preset",
        "ultrafast",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = Path("runs/run/long/long-overlay.mp4.part")
    while process.poll() is None and not (part.exists() and part.stat().st_size > 400_000):
        time.sleep(0.01)
    return process


@posix
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_a_video_that_plays(artifacts: Path, number: signal.Signals) -> None:
    """Ctrl-C after an hour must not lose the frames of that hour."""
    clip = write_drive(Path("long.mp4"), 1000, audio=write_tone(Path("tone.wav"), 67), noisy=True)

    process = start(artifacts, clip)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert out == ""
    overlay = Path("runs/run/long/long-overlay.mp4")
    assert [path.name for path in overlay.parent.iterdir()] == [overlay.name]
    with VideoSource(overlay) as source:
        frames = len(list(source))
        assert source.skipped == 0
    assert 0 < frames < 1000
    assert (
        err.splitlines()[-1]
        == f"segdeploy: interrupted after {frames} of 1000 frames; the results so far are in"
        f" {overlay}"
    )
    assert span(overlay, "audio") == pytest.approx(frames / 15, abs=0.2)


@posix
@pytest.mark.slow
def test_killed_run_leaves_no_file_that_looks_finished(artifacts: Path) -> None:
    """A killed process cannot finish a file; its name says that it is a part."""
    clip = write_drive(Path("long.mp4"), 1000, noisy=True)

    process = start(artifacts, clip)
    process.kill()
    process.communicate(timeout=60)

    assert [path.name for path in Path("runs/run/long").iterdir()] == ["long-overlay.mp4.part"]


@pytest.mark.slow
def test_real_clip_with_every_option(
    artifacts: Path, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rotated by the phone, 29.97 fps, with audio."""
    clip = real / "video" / "rotated_270.mp4"

    assert (
        call("--model", artifacts / "best.onnx", "--video", clip, "--preset", "ultrafast", "--json")
        == 0
    )

    result = json.loads(capsys.readouterr().out)
    overlay = Path(result["outputs"][0])
    with VideoSource(overlay) as source:
        assert (source.width, source.height, source.rate) == (720, 1280, Fraction(30000, 1001))
        seconds = [frame.seconds for frame in source]
    np.testing.assert_allclose(seconds, [index * 1001 / 30000 for index in range(149)], atol=1e-4)
    assert result["frames"] == 149
    assert span(overlay, "audio") == pytest.approx(span(clip, "audio"), abs=0.001)


def test_frames_go_through_pipes(artifacts: Path) -> None:
    """Another program's frames in, ours out: Y4M on standard output, and messages on stderr."""
    rows = b"".join(np.full((60, 80, 3), 20 * index, np.uint8).tobytes() for index in range(4))
    arguments = [
        "--model",
        artifacts / "best.onnx",
        "--source",
        "-",
        "--raw",
        "80x60:bgr24@10",
        "--output",
        "-",
        "--max-frames",
        "3",
    ]

    done = subprocess.run(
        [sys.executable, "-m", "segdeploy", "run", *map(str, arguments)],
        input=rows,
        capture_output=True,
        check=True,
    )

    assert done.stdout.startswith(b"YUV4MPEG2 W80 H60 F10:1")
    assert done.stdout.count(b"FRAME\n") == 3
    assert b"3 frames in" in done.stderr
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--image", "a.png", "--output", "-"], 2, "cannot go through a pipe"),
        (
            ["--video", "clip.mp4", "--output", "-", "--save", "mask,overlay"],
            2,
            "mask,overlay cannot go through a pipe",
        ),
        (["--video", "clip.mp4", "--save", "mask", "--show"], 2, "--show shows the overlay"),
        (["--video", "clip.mp4", "--raw", "8x8:bgr24"], 2, "add --source -"),
        (["--video", "clip.mp4", "--start", "2", "--end", "1"], 2, "is no later than the start"),
        (["--image", "a.png", "--start", "2"], 2, "images have no time"),
        (["--video", "clip.mp4", "--batch", "none"], 2, "'none' is not a number of frames"),
        (
            ["--video", "clip.mp4", "--codec", "av1", "--preset", "fast"],
            2,
            "av1 has no preset 'fast'",
        ),
        (["--video", "clip.mp4", "--start", "99"], 3, "no image could be read"),
    ],
)
def test_options_that_do_not_fit(
    artifacts: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    """They are refused before a frame is read, and leave nothing."""
    write_drive(Path("clip.mp4"), 2)
    cv2.imwrite("a.png", np.zeros((8, 8, 3), np.uint8))

    assert call("--model", artifacts / "best.onnx", *arguments) == code

    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs/run").exists() or not list(Path("runs/run").iterdir())


def test_part_of_a_video(artifacts: Path) -> None:
    """Every second frame of the second third of one second."""
    clip = write_drive(Path("drive.mp4"), 15, audio=write_tone(Path("tone.wav"), 1))

    arguments = ["--stride", "2", "--start", "0.333", "--end", "0.667", "--output", "part"]
    assert call("--model", artifacts / "best.onnx", "--video", clip, *arguments) == 0

    with VideoSource(Path("part/drive-overlay.mp4")) as source:
        assert [frame.seconds for frame in source] == pytest.approx(
            [0.0003, 0.1337, 0.267], abs=0.002
        )
    assert span(Path("part/drive-overlay.mp4"), "audio") == pytest.approx(1 / 3, abs=0.2)


def test_every_kind_of_output_of_a_video(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Videos for viewing, images where values are exact, and one file for records."""
    clip = write_drive(Path("drive.mp4"), 3)
    kinds = "overlay,mask,color,confidence,side,cutout,jsonl,geojson,coco,rle"

    assert (
        call(
            "--model",
            artifacts / "best.onnx",
            "--video",
            clip,
            "--save",
            kinds,
            "--classes",
            "road,sky",
            "--palette",
            "turbo",
        )
        == 0
    )

    folder = Path("runs/run/drive")
    files = {
        "drive-overlay.mp4",
        "drive-side.mp4",
        "drive-frames.jsonl",
        "drive-coco.json",
        "drive-rle.json",
    }
    expected = files | {
        f"drive-{kind}" for kind in ("mask", "color", "confidence", "cutout", "geojson")
    }
    assert {path.name for path in folder.iterdir()} == expected
    with VideoSource(folder / "drive-side.mp4") as source:
        assert (source.width, source.height, len(list(source))) == (160, 60, 3)
    assert len((folder / "drive-frames.jsonl").read_text().splitlines()) == 3
    line = json.loads((folder / "drive-frames.jsonl").read_text().splitlines()[1])
    assert line["seconds"] == pytest.approx(1 / 15, abs=1e-4)
    assert set(line["milliseconds"]) == {"prepare", "infer", "mask", "draw"}
    names = [f"{index:06d}" for index in range(3)]
    for kind, ending in (
        ("mask", "png"),
        ("color", "png"),
        ("confidence", "png"),
        ("cutout", "png"),
        ("geojson", "geojson"),
    ):
        assert sorted(path.name for path in (folder / f"drive-{kind}").iterdir()) == [
            f"{name}.{ending}" for name in names
        ]
    np.testing.assert_array_equal(
        read_ids(folder / "drive-mask" / "000001.png"),
        read_ids(folder / "drive-color" / "000001.png"),
    )


def test_cutouts_in_front_of_a_color(artifacts: Path) -> None:
    """With a background a cutout is a video, and that of an image is opaque."""
    clip = write_drive(Path("drive.mp4"), 2)
    cv2.imwrite("a.png", np.full((30, 40, 3), 90, np.uint8))
    more = (
        "--model",
        artifacts / "best.onnx",
        "--save",
        "cutout",
        "--classes",
        "road",
        "--background",
        "00ff00",
    )

    assert call(*more, "--video", clip) == 0
    assert call(*more, "--image", "a.png") == 0

    with VideoSource(Path("runs/run/drive/drive-cutout.mp4")) as source:
        assert len(list(source)) == 2
    assert cv2.imread("runs/run/images/cutout/a.png", cv2.IMREAD_UNCHANGED).shape == (30, 40, 3)


@pytest.mark.parametrize("workers", [(), ("--serial",), ("--latency",)])
@pytest.mark.parametrize("smooth", ["ema", "hysteresis"])
def test_smoothed_frames_keep_their_order(
    artifacts: Path, capsys: pytest.CaptureFixture[str], smooth: str, workers: tuple[str, ...]
) -> None:
    """Frames are segmented in parallel and smoothed one after the other.

    The masks are those of a loop written here.
    """
    from segdeploy.backends.loading import load_backend
    from segdeploy.imaging.postprocess import output_to_mask
    from segdeploy.imaging.preprocess import to_batch
    from segdeploy.video.smoothing import make_smoother

    clip = write_drive(Path("drive.mp4"), 12, noisy=True)

    assert (
        call(
            "--model",
            artifacts / "best.onnx",
            "--video",
            clip,
            "--save",
            "mask",
            "--smooth",
            smooth,
            "--json",
            *workers,
        )
        == 0
    )

    shown = capsys.readouterr()
    flicker = json.loads(shown.out)["flicker"]
    assert 0 <= flicker["after"] <= flicker["before"] <= 1
    assert "changed it back in the next frame; smoothed" in shown.err
    backend = load_backend(artifacts / "best.onnx")
    smoother = make_smoother(smooth, backend.card)
    with VideoSource(clip) as source:
        for frame in source:
            output = smoother.smooth(backend.run(to_batch([frame.image], backend.card.input)))
            mask = output_to_mask(output, backend.card.input, height=60, width=80)
            np.testing.assert_array_equal(
                read_ids(Path(f"runs/run/drive/drive-mask/{frame.index:06d}.png")), mask
            )


def test_tta_changes_the_masks(artifacts: Path) -> None:
    """The mean over the image and its mirror is that of `AugmentedBackend`."""
    from segdeploy.backends.loading import load_backend
    from segdeploy.backends.tta import AugmentedBackend

    cv2.imwrite("a.png", np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))

    assert (
        call(
            "--model",
            artifacts / "best.onnx",
            "--image",
            "a.png",
            "--save",
            "mask",
            "--tta",
            "flip",
        )
        == 0
    )

    network = load_backend(artifacts / "best.onnx")
    mask = read_ids(Path("runs/run/images/mask/a.png"))
    np.testing.assert_array_equal(
        mask, Predictor(AugmentedBackend(network, ["flip"])).mask(cv2.imread("a.png"))
    )
    assert (mask != Predictor(network).mask(cv2.imread("a.png"))).any()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ["--classes", "road,moon"],
            2,
            "'moon' is not a class of the network; its classes are Sky",
        ),
        (["--save", "cutout"], 2, "add --classes"),
        (["--background", "00ff00"], 2, "add --save cutout"),
        (["--min-area", "9"], 2, "add --save geojson, for example"),
        (["--palette", "rainbow"], 2, "no palette or file rainbow"),
        (["--tta", "spin"], 2, "'spin' is none of flip, scales"),
        (["--tta", "scales"], 2, "export it with --dynamic"),
        (["--smooth", "ema"], 2, "images are not a sequence in time"),
        (["--every", "2"], 2, "images are not a sequence in time; leave out --every 2"),
        (["--every", "2", "--tile", "32"], 2, "images are not a sequence in time"),
        (
            ["--save", "cutout", "--classes", "road", "--background", "nowhere.png"],
            3,
            "there is no nowhere.png",
        ),
    ],
)
def test_options_that_the_model_refuses(
    artifacts: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    """Before anything is written."""
    cv2.imwrite("a.png", np.zeros((8, 8, 3), np.uint8))

    assert call("--model", artifacts / "best.onnx", "--image", "a.png", *arguments) == code

    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(Path().glob("runs/run/*"))


@posix
@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_video_is_resumed(artifacts: Path, end: signal.Signals) -> None:
    """Stopped or killed: after `--resume` all frames are there at their times."""
    clip = write_drive(Path("drive.mp4"), 360, audio=write_tone(Path("tone.wav"), 24))
    arguments = [
        "--model",
        str(artifacts / "best.onnx"),
        "--video",
        str(clip),
        "--save",
        "overlay,mask",
    ]
    command = [sys.executable, "-m", "segdeploy", "run", *arguments]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    masks = Path("runs/run/drive/drive-mask")
    while not masks.is_dir() or len(list(masks.iterdir())) < 330:
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(end)
    assert running.wait() == (130 if end == signal.SIGINT else -signal.SIGKILL)
    done = {path.name: path.stat().st_mtime_ns for path in masks.glob("*.png")}

    assert call(*arguments, "--resume") == 0
    assert call(*arguments, "--output", "whole") == 0

    overlay = Path("runs/run/drive/drive-overlay.mp4")
    assert sorted(path.name for path in overlay.parent.iterdir()) == [
        "drive-mask",
        "drive-overlay.mp4",
    ]
    with VideoSource(overlay) as source, VideoSource(Path("whole/drive-overlay.mp4")) as other:
        assert [frame.seconds for frame in source] == [frame.seconds for frame in other]
    assert span(overlay, "audio") == pytest.approx(
        span(Path("whole/drive-overlay.mp4"), "audio"), abs=0.01
    )
    for path in Path("whole/drive-mask").iterdir():
        assert path.read_bytes() == (masks / path.name).read_bytes()
    kept = [name for name, when in done.items() if (masks / name).stat().st_mtime_ns == when]
    assert len(kept) >= (len(done) if end == signal.SIGINT else 250)


def test_resume_skips_finished_images(artifacts: Path) -> None:
    """Half of a folder is done; one image of the other half has its mask but no overlay."""
    for name in "abcd":
        cv2.imwrite(f"{name}.png", np.zeros((8, 8, 3), np.uint8))
    arguments = ["--model", artifacts / "best.onnx", "--output", "out", "--save", "mask,overlay"]
    assert call(*arguments, "--image", "a.png", "b.png", "c.png") == 0
    Path("out/overlay/c.jpg").unlink()
    done = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*")}

    assert call(*arguments, "--image", "a.png", "b.png", "c.png", "d.png", "--resume") == 0

    again = {path for path, when in done.items() if path.stat().st_mtime_ns != when}
    assert again == {Path("out/mask/c.png")}
    assert len(list(Path("out").rglob("*.*"))) == 8


def test_resume_finds_the_folder_of_earlier_versions(artifacts: Path) -> None:
    """It was called `pictures`; a run that was interrupted there continues there."""
    for name in "ab":
        cv2.imwrite(f"{name}.png", np.zeros((8, 8, 3), np.uint8))
    model = ["--model", artifacts / "best.onnx", "--save", "mask"]
    assert call(*model, "--image", "a.png", "--name", "pictures") == 0

    assert call(*model, "--image", "a.png", "b.png", "--resume") == 0

    masks = sorted(path.name for path in Path("runs/run/pictures/mask").iterdir())
    assert masks == ["a.png", "b.png"]
    assert [path.name for path in Path("runs/run").iterdir()] == ["pictures"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--save", "overlay,jsonl"], "jsonl cannot be resumed"),
        (["--smooth", "ema"], "--smooth ema needs the frames before"),
        (["--every", "3"], "--every 3 needs the frames before"),
        (["--output", "-"], "a run into a pipe cannot be resumed"),
    ],
)
def test_run_that_cannot_be_resumed_is_refused(
    artifacts: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    """A result that would differ from an uninterrupted one is refused."""
    write_drive(Path("clip.mp4"), 2)

    assert (
        call("--model", artifacts / "best.onnx", "--video", "clip.mp4", "--resume", *arguments) == 2
    )

    assert sentence in capsys.readouterr().err.splitlines()[-1]


def overlay_times(path: Path) -> list[float]:
    with VideoSource(path) as source:
        return [frame.seconds for frame in source]


def test_finished_video_is_not_overwritten_unasked(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command twice: the first result may have taken a night."""
    clip = write_drive(Path("drive.mp4"))
    arguments = ("--model", artifacts / "best.onnx", "--video", clip, "--output", "out")
    assert call(*arguments, "--max-frames", "5") == 0
    before = Path("out/drive-overlay.mp4").read_bytes()
    capsys.readouterr()

    assert call(*arguments) == 2

    assert "out/drive-overlay.mp4 exists" in capsys.readouterr().err
    assert Path("out/drive-overlay.mp4").read_bytes() == before
    assert call(*arguments, "--overwrite") == 0
    assert len(overlay_times(Path("out/drive-overlay.mp4"))) == 15
    assert [path.name for path in Path("out").iterdir()] == ["drive-overlay.mp4"]


def test_masks_of_frames_are_written_again(artifacts: Path) -> None:
    """A folder of images is written file by file, as before."""
    clip = write_drive(Path("drive.mp4"), 3)
    arguments = ("--model", artifacts / "best.onnx", "--video", clip, "--output", "out")

    assert call(*arguments, "--save", "mask") == 0
    assert call(*arguments, "--save", "mask") == 0


@posix
def test_run_waits_for_another_one_that_is_about_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that is started again must not fail because the old process is still ending."""
    part = tmp_path / "a.mp4.part"
    descriptor = claim(part)
    ending = threading.Timer(0.3, os.close, [descriptor])
    ending.start()

    wait_for_other_run([part], should_stop=bool, patience=30)

    assert not is_claimed(part)
    assert f"another run is writing {part}" in capsys.readouterr().err
    ending.join()


@posix
def test_run_does_not_wait_forever(tmp_path: Path) -> None:
    """The other run may take hours, or the user may lose patience."""
    part = tmp_path / "a.mp4.part"
    descriptor = claim(part)

    wait_for_other_run([part], should_stop=bool, patience=0.1)
    wait_for_other_run([part], should_stop=lambda: True, patience=30)

    assert is_claimed(part)
    os.close(descriptor)


def test_video_left_by_a_killed_run_is_not_lost(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --resume or --overwrite nothing is thrown away."""
    clip = write_drive(Path("drive.mp4"))
    arguments = ("--model", artifacts / "best.onnx", "--video", clip, "--output", "out")
    assert call(*arguments) == 0
    part = Path("out/drive-overlay.mp4").rename("out/drive-overlay.mp4.part")
    left = part.read_bytes()
    capsys.readouterr()

    assert call(*arguments) == 2

    assert "an interrupted run left out/drive-overlay.mp4.part" in capsys.readouterr().err
    assert part.read_bytes() == left
    assert call(*arguments, "--resume") == 0
    assert len(overlay_times(Path("out/drive-overlay.mp4"))) == 15


def test_low_images_are_refused_by_av1(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its encoder would never return from the first one."""
    frames = [np.zeros((16, 256, 3), np.uint8)] * 3
    clip = write_clip(Path("low.mp4"), frames, rate=15)

    assert call("--model", artifacts / "best.onnx", "--video", clip, "--codec", "av1") == 2

    assert "256x16; choose another --codec" in capsys.readouterr().err
    assert not list(Path("runs/run").iterdir())
