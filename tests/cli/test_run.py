"""`segdeploy run` as a user types it: results, sentences and exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from segdeploy.cli.main import main
from segdeploy.imaging.io import read_ids
from segdeploy.inference.predictor import Predictor
from segdeploy.video.codecs import Encoding
from segdeploy.video.reader import VideoSource
from segdeploy.video.writer import VideoSink

posix = pytest.mark.skipif(os.name != "posix", reason="sends signals")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results go below the folder where the command is called."""
    monkeypatch.chdir(tmp_path)


def write_tone(path: Path, seconds: int) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = (8000 * np.sin(np.arange(8000 * seconds) / 3)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
    return path


def write_clip(
    path: Path, count: int = 15, *, sound: Path | None = None, noisy: bool = False
) -> Path:
    """Write a clip of 80x60 at 15 frames a second."""
    random = np.random.default_rng(0)
    with VideoSink(
        path,
        width=80,
        height=60,
        rate=Fraction(15),
        sound=sound,
        encoding=Encoding(preset="ultrafast"),
    ) as sink:
        for index in range(count):
            image = (
                random.integers(0, 256, (60, 80, 3))
                if noisy
                else np.full((60, 80, 3), 10 * index % 256)
            )
            sink.write(image.astype(np.uint8), seconds=index / 15)
    return path


def call(*arguments: str | Path) -> int:
    """Call the command, and give its exit code."""
    try:
        main(["run", *map(str, arguments)])
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def span(path: Path, kind: str) -> float:
    with av.open(str(path)) as clip:
        stream = clip.streams.get({kind: 0})[0]
        return float(stream.duration * stream.time_base)


@pytest.mark.parametrize("ending", ["onnx", "torchscript", "pt"])
def test_video_becomes_an_overlay_with_sound(
    artifacts: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """Every kind of artifact, one command."""
    clip = write_clip(Path("drive.mp4"), sound=write_tone(Path("tone.wav"), 1))

    assert call("--model", artifacts / f"best.{ending}", "--video", clip) == 0

    overlay = Path("runs/run/drive/drive-overlay.mp4")
    assert [path.name for path in overlay.parent.iterdir()] == [overlay.name]
    with VideoSource(overlay) as source:
        assert (source.width, source.height, source.rate, len(list(source))) == (80, 60, 15, 15)
    assert span(overlay, "audio") == pytest.approx(span(clip, "audio"), abs=0.01)
    told = capsys.readouterr()
    assert told.out.startswith(f"{overlay}\n15 frames in ")
    assert "infer" in told.out
    assert f"best.{ending} on " in told.err
    assert "next: segdeploy " in told.err


def test_masks_of_a_video_are_numbered(artifacts: Path) -> None:
    """Class indices, one file a frame, and no overlay that nobody asked for."""
    clip = write_clip(Path("drive.mp4"), 3)

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


def test_pictures_files_and_folders(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--image a.jpg b.png DIR` is what people type."""
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
    assert result["outputs"] == ["runs/run/pictures/mask", "runs/run/pictures/overlay"]
    assert (result["frames"], result["losses"]) == (4, [])
    assert result["infer"]["total"] > 0
    assert sorted(path.name for path in Path("runs/run/pictures/mask").iterdir()) == [
        "a-2.png",
        "a.png",
        "b.png",
        "c.png",
    ]
    assert sorted(path.name for path in Path("runs/run/pictures/overlay").iterdir()) == [
        "a-2.jpg",
        "a.jpg",
        "b.jpg",
        "c.jpg",
    ]
    expected = Predictor(load_backend(artifacts / "best.onnx")).mask(cv2.imread("more/a.png"))
    np.testing.assert_array_equal(read_ids(Path("runs/run/pictures/mask/a-2.png")), expected)


def test_serial_gives_the_same_file(artifacts: Path) -> None:
    """The threads change the time only."""
    clip = write_clip(Path("drive.mp4"), noisy=True)

    assert call("--model", artifacts / "best.onnx", "--video", clip, "--output", "a") == 0
    assert (
        call("--model", artifacts / "best.onnx", "--video", clip, "--output", "b", "--serial") == 0
    )

    assert Path("a/drive-overlay.mp4").read_bytes() == Path("b/drive-overlay.mp4").read_bytes()


def test_bad_pictures_are_told_by_name(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is done, and a script sees by the exit code that not all is well."""
    cv2.imwrite("good.png", np.zeros((8, 8, 3), np.uint8))
    Path("bad.png").write_bytes(b"no image")

    assert (
        call("--model", artifacts / "best.onnx", "--image", "bad.png", "good.png", "--save", "mask")
        == 3
    )

    told = capsys.readouterr()
    assert "bad.png is no image" in told.err
    assert (
        told.err.splitlines()[-1]
        == "segdeploy: 1 of 2 images could not be read; the others are done"
    )
    assert Path("runs/run/pictures/mask/good.png").exists()


def test_damaged_video_is_told(artifacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The good frames are written, and what is missing stands on stderr."""
    clip = write_clip(Path("drive.mp4"), 30, noisy=True)
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) * 2 // 3])

    assert call("--model", artifacts / "best.onnx", "--video", clip, "--json") == 0

    told = capsys.readouterr()
    result = json.loads(told.out)
    assert result["losses"] == [
        f"drive.mp4 is damaged: {30 - result['frames']} frames could not be decoded and had to be"
        " left out"
    ]
    assert result["losses"][0] in told.err
    with VideoSource(Path(result["outputs"][0])) as source:
        assert len(list(source)) == result["frames"] > 10


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--model", "M"], 2, "name images"),
        (["--model", "M", "--video", "clip.mp4", "--image", "a.png"], 2, "not both"),
        (["--model", "M", "--video", "clip.mp4", "a.png"], 2, "not both"),
        (
            ["--model", "M", "--video", "clip.mp4", "--name", "x", "--output", "y"],
            2,
            "leave out --name",
        ),
        (
            ["--model", "M", "--video", "clip.mp4", "--save", "mask,film"],
            2,
            "'film' cannot be kept",
        ),
        (["--model", "M", "--video", "clip.mp4", "--name", "../x"], 2, "no plain name"),
        (["--model", "M", "--video", "clip.mp4", "--backend", "torch"], 2, "not by 'torch'"),
        (["--model", "M", "--video", "clip.mp4", "--device", "abacus"], 1, "'abacus'"),
        (["--model", "M", "--video", "nowhere.mp4"], 3, "there is no video nowhere.mp4"),
        (["--model", "M", "--image", "nowhere.png"], 3, "there is no nowhere.png"),
        (["--model", "M", "--video", "words.mp4"], 3, "words.mp4 is no video"),
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
    write_clip(Path("clip.mp4"), 1)
    Path("words.mp4").write_text("words")

    assert (
        call(*[str(artifacts / "best.onnx") if text == "M" else text for text in arguments]) == code
    )

    last = capsys.readouterr().err.splitlines()[-1]
    assert sentence in last
    assert not list(Path().glob("runs/run/*"))


def test_onnx_needs_no_torch(artifacts: Path) -> None:
    """A robot or a server gets by without two gigabytes that it never uses."""
    write_clip(Path("drive.mp4"), 3)
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
    """No space left: no file that looks finished, no folder, no traceback."""
    clip = write_clip(Path("drive.mp4"), 60, noisy=True)

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
        "segdeploy: cannot write runs/run/drive/drive-overlay.mp4: File too large"
    )
    assert "Traceback" not in done.stderr
    assert not list(Path("runs/run").iterdir())


def start(artifacts: Path, clip: Path) -> "subprocess.Popen[str]":
    """Start a long run, and come back when it is in the middle of writing."""
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
    while process.poll() is None and not (part.exists() and part.stat().st_size > 50_000):
        time.sleep(0.01)
    return process


@posix
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_a_video_that_plays(artifacts: Path, number: signal.Signals) -> None:
    """Ctrl-C after an hour must not cost the hour."""
    clip = write_clip(Path("long.mp4"), 1000, sound=write_tone(Path("tone.wav"), 67), noisy=True)

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
        == f"segdeploy: interrupted after {frames} of 1000 frames; what was done is in {overlay}"
    )
    assert span(overlay, "audio") == pytest.approx(frames / 15, abs=0.2)


@posix
@pytest.mark.slow
def test_killed_run_leaves_no_file_that_looks_finished(artifacts: Path) -> None:
    """Nobody can finish anything then; the name says that it is a part."""
    clip = write_clip(Path("long.mp4"), 1000, noisy=True)

    process = start(artifacts, clip)
    process.kill()
    process.communicate(timeout=60)

    assert [path.name for path in Path("runs/run/long").iterdir()] == ["long-overlay.mp4.part"]


@pytest.mark.slow
def test_real_clip_with_everything(
    artifacts: Path, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Turned by the phone, 29.97 frames a second, with sound."""
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
    """Another program's frames in, ours out: Y4M on standard output, and words on stderr."""
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
        (["--video", "clip.mp4", "--raw", "8x8:bgr24"], 2, "give --source - too"),
        (["--video", "clip.mp4", "--start", "2", "--end", "1"], 2, "is no later than the start"),
        (["--image", "a.png", "--start", "2"], 2, "images have no time"),
        (["--video", "clip.mp4", "--batch", "none"], 2, "'none' is no number of frames"),
        (
            ["--video", "clip.mp4", "--codec", "av1", "--preset", "fast"],
            2,
            "av1 knows no preset 'fast'",
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
    write_clip(Path("clip.mp4"), 2)
    cv2.imwrite("a.png", np.zeros((8, 8, 3), np.uint8))

    assert call("--model", artifacts / "best.onnx", *arguments) == code

    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs/run").exists() or not list(Path("runs/run").iterdir())


def test_part_of_a_video(artifacts: Path) -> None:
    """Every second frame of the second third of a second."""
    clip = write_clip(Path("drive.mp4"), 15, sound=write_tone(Path("tone.wav"), 1))

    arguments = ["--stride", "2", "--start", "0.333", "--end", "0.667", "--output", "part"]
    assert call("--model", artifacts / "best.onnx", "--video", clip, *arguments) == 0

    with VideoSource(Path("part/drive-overlay.mp4")) as source:
        assert [frame.seconds for frame in source] == pytest.approx(
            [0.0003, 0.1337, 0.267], abs=0.002
        )
    assert span(Path("part/drive-overlay.mp4"), "audio") == pytest.approx(1 / 3, abs=0.2)


def test_everything_that_can_be_kept_of_a_video(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Films for what is looked at, images for what is exact, and one file for records."""
    clip = write_clip(Path("drive.mp4"), 3)
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


def test_cutouts_before_a_color(artifacts: Path) -> None:
    """With something behind it a cutout is a film, and of an image one that is opaque."""
    clip = write_clip(Path("drive.mp4"), 2)
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
    assert cv2.imread("runs/run/pictures/cutout/a.png", cv2.IMREAD_UNCHANGED).shape == (30, 40, 3)


@pytest.mark.parametrize("workers", [(), ("--serial",), ("--latency",)])
@pytest.mark.parametrize("smooth", ["ema", "hysteresis"])
def test_smoothed_frames_keep_their_order(
    artifacts: Path, capsys: pytest.CaptureFixture[str], smooth: str, workers: tuple[str, ...]
) -> None:
    """Frames are answered in parallel and steadied one after the other.

    The masks are those of a loop by hand.
    """
    from segdeploy.backends.loading import load_backend
    from segdeploy.imaging.postprocess import answer_mask
    from segdeploy.imaging.preprocess import to_batch
    from segdeploy.video.smoothing import make_smoother

    clip = write_clip(Path("drive.mp4"), 12, noisy=True)

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

    told = capsys.readouterr()
    flicker = json.loads(told.out)["flicker"]
    assert 0 <= flicker["after"] <= flicker["before"] <= 1
    assert "changed it back with the next frame; steadied" in told.err
    backend = load_backend(artifacts / "best.onnx")
    smoother = make_smoother(smooth, backend.card)
    with VideoSource(clip) as source:
        for frame in source:
            answer = smoother.smooth(backend.run(to_batch([frame.image], backend.card.input)))
            mask = answer_mask(answer, backend.card.input, height=60, width=80)
            np.testing.assert_array_equal(
                read_ids(Path(f"runs/run/drive/drive-mask/{frame.index:06d}.png")), mask
            )


def test_more_views_give_other_masks(artifacts: Path) -> None:
    """The mean over the image and its mirror is that of `ViewsBackend`."""
    from segdeploy.backends.loading import load_backend
    from segdeploy.backends.tta import ViewsBackend

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
    mask = read_ids(Path("runs/run/pictures/mask/a.png"))
    np.testing.assert_array_equal(
        mask, Predictor(ViewsBackend(network, ["flip"])).mask(cv2.imread("a.png"))
    )
    assert (mask != Predictor(network).mask(cv2.imread("a.png"))).any()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ["--classes", "road,moon"],
            2,
            "'moon' in --classes is no class of the network; its classes are Sky",
        ),
        (["--save", "cutout"], 2, "add --classes"),
        (["--background", "00ff00"], 2, "add --save cutout"),
        (["--palette", "rainbow"], 2, "no palette or file rainbow"),
        (["--tta", "spin"], 2, "'spin' is no way to look"),
        (["--tta", "scales"], 2, "export it with --dynamic"),
        (["--smooth", "ema"], 2, "images do not follow each other in time"),
        (
            ["--save", "cutout", "--classes", "road", "--background", "nowhere.png"],
            3,
            "there is no nowhere.png",
        ),
    ],
)
def test_wishes_that_cannot_be_get_one_sentence(
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
def test_interrupted_video_goes_on(artifacts: Path, end: signal.Signals) -> None:
    """Stopped or killed: in the end there are all frames at their times, as if nothing had been."""
    clip = write_clip(Path("drive.mp4"), 360, sound=write_tone(Path("tone.wav"), 24))
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


def test_pictures_that_are_done_are_left_alone(artifacts: Path) -> None:
    """Half of a folder is done, and one of the other half has its mask but no overlay."""
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


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--save", "overlay,jsonl"], "jsonl cannot be gone on with"),
        (["--smooth", "ema"], "--smooth looks back"),
        (["--output", "-"], "what went through a pipe is gone"),
    ],
)
def test_what_cannot_be_gone_on_with(
    artifacts: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    """A result that would differ from an uninterrupted one is refused."""
    write_clip(Path("clip.mp4"), 2)

    assert (
        call("--model", artifacts / "best.onnx", "--video", "clip.mp4", "--resume", *arguments) == 2
    )

    assert sentence in capsys.readouterr().err.splitlines()[-1]
