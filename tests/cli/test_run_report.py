"""What a run says about its speed."""

from dataclasses import replace

from segdeploy.cli.run_report import SourceResult
from segdeploy.video.profiler import StageTime, StageTimes
from segdeploy.video.sources import OpenedSource

NO_TIME = StageTime(p50=0.0, p95=0.0, total=0.0)
WAITING = StageTimes(
    frames=10,
    wall=2.0,
    decode=NO_TIME,
    prepare=NO_TIME,
    infer=replace(NO_TIME, total=1.0),
    mask=NO_TIME,
    draw=NO_TIME,
    encode=replace(NO_TIME, total=1.9),
)


def test_a_run_that_waits_for_its_encoder_names_a_faster_preset() -> None:
    """The user learns what to change; a run whose network is slowest, and the fastest preset,
    get no hint.
    """
    result = SourceResult(paths=(), opened=OpenedSource(), times=WAITING, faster_preset="ultrafast")

    assert result.hint == "--preset ultrafast would encode faster, into larger files"
    assert replace(result, faster_preset=None).hint == ""
    assert replace(result, times=replace(WAITING, encode=NO_TIME)).hint == ""
    assert replace(result, times=None).hint == ""
