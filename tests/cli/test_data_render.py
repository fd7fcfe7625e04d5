"""`segdeploy data render`: videos that play, and scenes that any tool for CamVid reads."""

from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from segdeploy.cli.main import data, main
from segdeploy.datasets.registry import load
from segdeploy.datasets.synthetic.dataset import Streets
from tests.helpers.cli import run_cli


def kinds(path):
    """Return the kinds of the streams in a file, and the number of video frames."""
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        return {stream.type for stream in container.streams}, frames


@pytest.mark.parametrize("overlay", ["--overlay", "--truth"])
def test_renders_a_drive_with_audio(tmp_path, overlay):
    """A quarter of a second at 20 fps is 5 frames, in the video and in that of its labels."""
    arguments = [
        "render",
        "--video",
        str(tmp_path / "a.mp4"),
        overlay,
        str(tmp_path / "b.mp4"),
        "--seconds",
        "0.25",
        "--fps",
        "20",
    ]

    result = CliRunner().invoke(
        data, [*arguments, "--height", "48", "--width", "64"], catch_exceptions=False
    )

    assert result.exit_code == 0
    assert kinds(tmp_path / "a.mp4") == ({"audio", "video"}, 5)
    assert kinds(tmp_path / "b.mp4") == ({"audio", "video"}, 5)
    assert "5 frames of 64x48 at 20 fps" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_renders_scenes_as_camvid(tmp_path):
    """The layout of CamVid reads exactly the pixels that were rendered."""
    arguments = [
        "render",
        "--images",
        str(tmp_path),
        "--split",
        "val",
        "--count",
        "2",
        "--height",
        "48",
        "--width",
        "64",
    ]

    result = CliRunner().invoke(data, arguments, catch_exceptions=False)

    assert result.exit_code == 0
    written = load("camvid", tmp_path, "val")
    drawn = Streets(split="val", count=2, height=48, width=64)
    assert list(written.names) == list(drawn.names)
    for index in range(2):
        np.testing.assert_array_equal(written[index].image, drawn[index].image)
        np.testing.assert_array_equal(written[index].mask, drawn[index].mask)


@pytest.mark.parametrize("option", ["--video", "--overlay"])
def test_a_video_that_exists_is_replaced_only_if_asked(option, tmp_path, monkeypatch, capsys):
    """It may be somebody's own."""
    monkeypatch.chdir(tmp_path)
    Path("mine.mp4").write_bytes(b"mine")
    arguments = ["data", "render", "--video", "new.mp4", option, "mine.mp4"]
    small = ["--seconds", "0.1", "--height", "48", "--width", "64"]

    assert run_cli(*arguments, *small) == 2
    assert "mine.mp4 exists" in capsys.readouterr().err
    assert Path("mine.mp4").read_bytes() == b"mine"
    assert run_cli(*arguments, *small, "--overwrite") == 0
    assert kinds(Path("mine.mp4")) == ({"audio", "video"}, 2)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "give either --video"),
        (["--video", "a.mp4", "--images", "b"], "give either --video"),
        (["--images", "b", "--overlay", "c.mp4"], "goes with --video"),
    ],
)
def test_refuses_options_that_do_not_go_together(arguments, part, tmp_path, monkeypatch, capsys):
    """One sentence, exit code 2, and nothing written."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as stopped:
        main(["data", "render", *arguments])

    assert stopped.value.code == 2
    assert part in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
