"""`run --zones`: what is measured while a video is segmented."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from segdeploy.cli.run_zones import ZoneOptions
from segdeploy.errors import ConfigError
from segdeploy.video.frames import Frame, Outputs, SegmentedFrame
from segdeploy.video.reader import VideoSource
from tests.helpers.cards import make_card
from tests.helpers.clips import gray_frames, write_clip

CARD = make_card(classes=("road", "car"))


def zones_file(tmp_path: Path, **more: object) -> Path:
    """Write a zone over the left half of an image of any size."""
    zone = {"name": "left", "size": [2, 1], "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]], **more}
    path = tmp_path / "zones.json"
    path.write_text(json.dumps({"zones": [zone]}))
    return path


def frame(index: int, mask_value: int) -> SegmentedFrame:
    """Return a frame of one class."""
    image = np.zeros((4, 8, 3), np.uint8)
    return SegmentedFrame(
        frame=Frame(image=image, index=index, seconds=index / 2),
        mask=np.full((4, 8), mask_value, np.uint8),
        confidence=None,
        drawn={},
        stage_seconds={},
    )


def options(zones: Path | None, *alert: str) -> ZoneOptions:
    """Return the options of a command."""
    return ZoneOptions(zones=zones, alert=alert, on_alert=None)


def test_lines_have_shares_and_the_events_that_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four frames half a second apart, of which the last three are cars."""
    written: list[SegmentedFrame] = []
    others = nullcontext(Outputs(writers=(written.append,), paths=(Path("other"),)))
    with VideoSource(write_clip(tmp_path / "drive.mp4", gray_frames(2))) as info:
        chosen = options(zones_file(tmp_path), "left.car>50% for 1s")
        with chosen.add(others, tmp_path, info=info, card=CARD, resumed=0) as outputs:
            for index, value in enumerate((0, 1, 1, 1)):
                outputs.write(frame(index, value))

    path = tmp_path / "drive-zones.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert outputs.paths == (Path("other"), path)
    assert len(written) == 4
    assert [line["zones"]["left"]["car"] for line in lines] == [0, 1, 1, 1]
    assert [line["seconds"] for line in lines] == [0, 0.5, 1, 1.5]
    assert ["alerts" in line for line in lines] == [False, False, False, True]
    assert "alert: left.car>50% for 1s at 1.50 s, now 100.0%" in capsys.readouterr().err


def test_zones_need_time_and_a_folder(tmp_path: Path) -> None:
    """Images have no time, a pipe no file, and a resumed run no beginning."""
    zones = zones_file(tmp_path)
    others = nullcontext(Outputs(writers=(), paths=()))
    with VideoSource(write_clip(tmp_path / "drive.mp4", gray_frames(2))) as info:
        for folder, source, resumed in ((tmp_path, None, 0), (None, info, 0), (tmp_path, info, 3)):
            with pytest.raises(ConfigError, match="--zones measures a whole video"):
                options(zones).add(others, folder, info=source, card=CARD, resumed=resumed)


def test_options_without_effect_are_refused(tmp_path: Path) -> None:
    """An alert without zones would never come."""
    with pytest.raises(ConfigError, match="--alert has no effect without --zones"):
        options(None, "left.car>50%")
    with pytest.raises(ConfigError, match="--on-alert has no effect without --alert"):
        ZoneOptions(zones=zones_file(tmp_path), alert=(), on_alert="true")
