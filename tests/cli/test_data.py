"""`segdeploy data render`: videos that play, and scenes that any tool for CamVid reads."""

import av
import numpy as np
import pytest
from click.testing import CliRunner

from segdeploy.cli.main import data, main
from segdeploy.datasets.registry import load
from segdeploy.datasets.synthetic.dataset import Streets


def kinds(path):
    """Kind of each stream in a file, and the number of frames."""
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        return {stream.type for stream in container.streams}, frames


def test_renders_a_drive_with_sound(tmp_path):
    """A quarter of a second at 20 frames a second is 5 frames, in the plain video and in that of
    the truth.
    """
    arguments = [
        "render",
        "--video",
        str(tmp_path / "a.mp4"),
        "--truth",
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
    assert "5 frames of 64x48 at 20 a second" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_renders_scenes_as_camvid(tmp_path):
    """What is written is read by the layout of CamVid, not one pixel different."""
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


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "give either --video"),
        (["--video", "a.mp4", "--images", "b"], "give either --video"),
        (["--images", "b", "--truth", "c.mp4"], "goes with --video"),
    ],
)
def test_refuses_what_makes_no_sense(arguments, part, tmp_path, monkeypatch, capsys):
    """One sentence, exit code 2, and nothing written."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as stopped:
        main(["data", "render", *arguments])

    assert stopped.value.code == 2
    assert part in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
