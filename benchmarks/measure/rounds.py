"""All rounds of all rows: each in a fresh process, one at a time, rows taking turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from segdeploy.errors import SegdeployError
from segdeploy.system.schema import convert

from ..results.latency import STABLE, Latency
from ..results.row import Round, Video
from .process import run_in_process
from .video_worker import VideoTask
from .worker import Task

MOST = 12
"""Largest number of rounds of a row where they are repeated until its median is stable."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was measured of one row so far.

    Attributes:
        rounds: Its rounds until now.
        video: What a video measured; None before it was run.
        error: Why it failed; "" if it did not.
    """

    rounds: tuple[Round, ...] = ()
    video: Video | None = None
    error: str = ""

    @property
    def stable(self) -> bool:
        """Whether no more rounds are needed: the median is known well enough, or the row failed."""
        if self.error:
            return True
        return Latency.joined(round_.latency for round_ in self.rounds).width <= STABLE


@dataclass(frozen=True, kw_only=True)
class Workers:
    """What runs the tasks; each returns what was measured, or why it failed.

    Attributes:
        measure: Measures one round.
        run_video: Runs over a video.
    """

    measure: Callable[[Task], Round | str]
    run_video: Callable[[VideoTask], Video | str]


def in_turns(names: Sequence[str], rounds: int) -> list[str]:
    """Return the order of all rounds.

    It goes back and forth, so that a machine that slows down slows all rows alike.
    """
    return [
        name for number in range(rounds) for name in (names if number % 2 == 0 else names[::-1])
    ]


def measure_all(
    tasks: Mapping[str, Task],
    *,
    rounds: int,
    measure: Callable[[Task], Round | str],
    on_round: Callable[[str], None],
) -> dict[str, Outcome]:
    """Measure every row; one that fails is left out of the later rounds.

    Args:
        tasks: What to measure, by the row's name; only the first round of a row writes masks.
        rounds: Rounds of each row.
        measure: Measures one round, or returns why it failed.
        on_round: Called with the row's name after each round.
    """
    outcomes = {name: Outcome() for name in tasks}
    for name in in_turns(list(tasks), rounds):
        outcomes[name] = add_round(outcomes[name], tasks[name], measure=measure)
        on_round(name)
    return outcomes


def repeat_until_stable(
    tasks: Mapping[str, Task],
    outcomes: Mapping[str, Outcome],
    *,
    measure: Callable[[Task], Round | str],
    on_round: Callable[[str], None],
) -> dict[str, Outcome]:
    """Add rounds, rows taking turns, until each median is stable or its row has 12 rounds."""
    added = dict(outcomes)
    forward = True
    while unstable := [
        name for name, outcome in added.items() if not outcome.stable and len(outcome.rounds) < MOST
    ]:
        for name in unstable if forward else unstable[::-1]:
            added[name] = add_round(added[name], tasks[name], measure=measure)
            on_round(name)
        forward = not forward
    return added


def add_round(outcome: Outcome, task: Task, *, measure: Callable[[Task], Round | str]) -> Outcome:
    """Add a round, unless the row failed before; only the first round writes masks."""
    if outcome.error:
        return outcome
    measured = measure(replace(task, masks=None) if outcome.rounds else task)
    if isinstance(measured, str):
        return replace(outcome, error=measured)
    return replace(outcome, rounds=(*outcome.rounds, measured))


def run_videos(
    tasks: Mapping[str, VideoTask],
    outcomes: Mapping[str, Outcome],
    *,
    run_video: Callable[[VideoTask], Video | str],
    on_video: Callable[[str], None],
) -> dict[str, Outcome]:
    """Run every row that has not failed over the video, one after the other.

    Args:
        tasks: What to run, by the row's name.
        outcomes: What was measured of each row until now.
        run_video: Runs over a video, or returns why it failed.
        on_video: Called with the row's name after each.
    """
    added = dict(outcomes)
    for name, task in tasks.items():
        if not added[name].error:
            video = run_video(task)
            added[name] = (
                replace(added[name], error=video)
                if isinstance(video, str)
                else replace(added[name], video=video)
            )
        on_video(name)
    return added


def measure_in_process(task: Task) -> Round | str:
    """Measure one round in a process of its own, and return it, or why it failed."""
    request = asdict(replace(task, started=time.monotonic()))
    response = run_in_process("measure.worker:respond", request)
    return (
        response if isinstance(response, str) else convert(response, Round, refuse=SegdeployError)
    )


def run_video_in_process(task: VideoTask) -> Video | str:
    """Run over a video in a process of its own, and return what it measured, or why it failed."""
    response = run_in_process("measure.video_worker:respond", asdict(task))
    return (
        response if isinstance(response, str) else convert(response, Video, refuse=SegdeployError)
    )


PROCESSES = Workers(measure=measure_in_process, run_video=run_video_in_process)
