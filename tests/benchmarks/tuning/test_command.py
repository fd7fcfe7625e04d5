"""The command `segdeploy tune`."""

import json
from pathlib import Path

import pytest

from segdeploy.inference.tuned import read_tuned
from tests.helpers.cli import run_cli
from tests.helpers.clips import gray_frames, write_clip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name what to measure on"),
        (["--video", "a.mp4", "--image", "b"], "name what to measure on"),
        (["--image", "b", "--fps", "9"], "--fps is of a film"),
        (["--video", "a.mp4", "--latency-p95", "40ms"], "--latency-p95 is of images"),
        (["--image", "b", "--every", "1,3"], "--every is for a film"),
        (["--image", "b", "--preset", "fast"], "--preset is for a film"),
        (["--image", "b", "--max-miou-drop", "1", "--min-agreement", "9"], "bound the same"),
        (["--video", "a.mp4", "--max-miou-drop", "1", "--every", "3"], "measured by agreement"),
        (["--image", "b", "--scale", "2"], "the scale 2 is not within 0.25 and 1"),
        (["--image", "b", "--max-memory", "300"], "'300' is not a size"),
    ],
)
def test_options_that_do_not_go_together(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    """Before anything is measured."""
    assert run_cli("tune", "street-int8", *arguments) == 2

    assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_settings_of_a_file_are_searched_and_taken_by_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A search that is repeated in its folder measures nothing again, and finds the same."""
    monkeypatch.chdir(tmp_path)
    clip = write_clip(tmp_path / "clip.mp4", gray_frames(8))
    arguments = ["tune", "street-int8", "--video", clip, "--rounds", "2", "--output", "found"]

    assert run_cli(*arguments, "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["choice"]["loss"] == 0
    assert len(found["finalists"]) == 2
    tuned, _ = read_tuned(Path("found/tuned.toml"))
    assert tuned.measured["fps"] == found["choice"]["fps"]
    trials = Path("found/trials.jsonl").read_text()
    assert run_cli(*arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out)["choice"] == found["choice"]
    assert Path("found/trials.jsonl").read_text() == trials
    assert run_cli("run", "--tuned", "found/tuned.toml", clip, "--output", "out") == 0


@pytest.mark.slow
def test_a_budget_that_cannot_be_kept_ends_with_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report is written, and no settings are."""
    clip = write_clip(tmp_path / "clip.mp4", gray_frames(8))

    code = run_cli(
        "tune", "street-int8", "--video", clip, "--fps", "100000", "--output", tmp_path / "found"
    )

    assert code == 6
    assert "comes closest" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "found" / "tune.html").exists()
    assert not (tmp_path / "found" / "tuned.toml").exists()
