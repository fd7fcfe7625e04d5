"""All rounds of all rows: each in a fresh process, one at a time, rows taking turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from ..results.latency import STABLE, Latency
from ..results.row import Round, Video
from .process import apart
from .video_worker import Film
from .worker import Task

MOST = 12
"""Rounds of a row at most, where they are repeated until its median is known well enough."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one row.

    Attributes:
        rounds: Its rounds, as far as it came.
        video: What a video showed; None where it has not been run over one.
        error: Why it failed; "" where it did not.
    """

    rounds: tuple[Round, ...] = ()
    video: Video | None = None
    error: str = ""

    @property
    def stable(self) -> bool:
        """Whether further rounds would tell little more, or nothing."""
        return (
            bool(self.error)
            or Latency.joined(found.latency for found in self.rounds).width <= STABLE
        )


@dataclass(frozen=True, kw_only=True)
class Workers:
    """What does the work; each gives what was found, or says why it could not.

    Attributes:
        once: Does one round.
        show: Runs over a video.
    """

    once: Callable[[Task], Round | str]
    show: Callable[[Film], Video | str]


def in_turns(names: Sequence[str], rounds: int) -> list[str]:
    """Return the order of all rounds.

    There and back again, so that a machine that slows down slows all rows alike.
    """
    return [
        name for number in range(rounds) for name in (names if number % 2 == 0 else names[::-1])
    ]


def measure_all(
    tasks: Mapping[str, Task],
    *,
    rounds: int,
    once: Callable[[Task], Round | str],
    on_round: Callable[[str], None],
) -> dict[str, Outcome]:
    """Measure every row; one that fails is left out of the later rounds.

    Args:
        tasks: What to measure, by the row's name; only the first round of a row writes answers.
        rounds: Rounds of each row.
        once: Does one round, or says why it cannot.
        on_round: Is told the row's name after each round.
    """
    outcomes = {name: Outcome() for name in tasks}
    for name in in_turns(list(tasks), rounds):
        outcomes[name] = further(outcomes[name], tasks[name], once=once)
        on_round(name)
    return outcomes


def repeat_until_stable(
    tasks: Mapping[str, Task],
    outcomes: Mapping[str, Outcome],
    *,
    once: Callable[[Task], Round | str],
    on_round: Callable[[str], None],
) -> dict[str, Outcome]:
    """Add rounds to the rows whose median is not known well enough, by turns, until it is, or until each has 12 rounds."""
    added = dict(outcomes)
    forth = True
    while wanting := [
        name for name, found in added.items() if not found.stable and len(found.rounds) < MOST
    ]:
        for name in wanting if forth else wanting[::-1]:
            added[name] = further(added[name], tasks[name], once=once)
            on_round(name)
        forth = not forth
    return added


def further(so_far: Outcome, task: Task, *, once: Callable[[Task], Round | str]) -> Outcome:
    """Add a round, unless the row failed before; only the first one writes answers."""
    if so_far.error:
        return so_far
    found = once(replace(task, answers=None) if so_far.rounds else task)
    return (
        replace(so_far, error=found)
        if isinstance(found, str)
        else replace(so_far, rounds=(*so_far.rounds, found))
    )


def show_all(
    films: Mapping[str, Film],
    outcomes: Mapping[str, Outcome],
    *,
    show: Callable[[Film], Video | str],
    on_film: Callable[[str], None],
) -> dict[str, Outcome]:
    """Run every row that has not failed over the video, one after the other, and add what was found.

    Args:
        films: What to run, by the row's name.
        outcomes: What became of each row until now.
        show: Runs over a video, or says why it cannot.
        on_film: Is told the row's name after each.
    """
    added = dict(outcomes)
    for name, film in films.items():
        if not added[name].error:
            video = show(film)
            added[name] = (
                replace(added[name], error=video)
                if isinstance(video, str)
                else replace(added[name], video=video)
            )
        on_film(name)
    return added


def in_process(task: Task) -> Round | str:
    """Do one round in a process of its own, and give what it found, or why it failed."""
    found = apart("measure.worker:serve_round", asdict(replace(task, started=time.monotonic())))
    return found if isinstance(found, str) else Round.from_dict(found)


def film_in_process(film: Film) -> Video | str:
    """Run over a video in a process of its own, and give what it showed, or why it failed."""
    found = apart("measure.video_worker:serve_video", asdict(film))
    return found if isinstance(found, str) else Video.from_dict(found)


PROCESSES = Workers(once=in_process, show=film_in_process)
