"""All rounds of all artifacts: each in a fresh process, one at a time, rows taking turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from segdeploy.video.times import StageTimes

from .film import Film
from .process import apart
from .row import Round, Task


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one artifact.

    Attributes:
        rounds: Its rounds, as far as it came.
        video: Where the time of a video went; None where it has not been run over one.
        error: Why it failed; "" where it did not.
    """

    rounds: tuple[Round, ...] = ()
    video: StageTimes | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """What does the work; each gives what was found, or says why it could not.

    Attributes:
        once: Does one round.
        show: Runs over a video.
    """

    once: Callable[[Task], Round | str]
    show: Callable[[Film], StageTimes | str]


def in_turns(names: Sequence[str], rounds: int) -> list[str]:
    """Give the order of all rounds: there and back again, so that a machine that slows down slows all rows alike."""
    return [name for number in range(rounds) for name in (names if number % 2 == 0 else names[::-1])]


def measure_all(
    tasks: Mapping[str, Task], *, rounds: int, once: Callable[[Task], Round | str], on_round: Callable[[str], None]
) -> dict[str, Outcome]:
    """Measure every artifact; one that fails is left out of the later rounds.

    Args:
        tasks: What to measure, by the row's name; only the first round of a row writes answers.
        rounds: Rounds of each row.
        once: Does one round, or says why it cannot.
        on_round: Is told the row's name after each round.
    """
    outcomes = {name: Outcome() for name in tasks}
    for name in in_turns(list(tasks), rounds):
        so_far = outcomes[name]
        if not so_far.error:
            found = once(replace(tasks[name], answers=None) if so_far.rounds else tasks[name])
            outcomes[name] = replace(so_far, error=found) if isinstance(found, str) else replace(so_far, rounds=(*so_far.rounds, found))
        on_round(name)
    return outcomes


def show_all(
    films: Mapping[str, Film],
    outcomes: Mapping[str, Outcome],
    *,
    show: Callable[[Film], StageTimes | str],
    on_film: Callable[[str], None],
) -> dict[str, Outcome]:
    """Run every artifact that has not failed over the video, one after the other, and add what was found.

    Args:
        films: What to run, by the row's name.
        outcomes: What became of each row until now.
        show: Runs over a video, or says why it cannot.
        on_film: Is told the row's name after each.
    """
    added = dict(outcomes)
    for name, film in films.items():
        if not added[name].error:
            times = show(film)
            added[name] = replace(added[name], error=times) if isinstance(times, str) else replace(added[name], video=times)
        on_film(name)
    return added


def in_process(task: Task) -> Round | str:
    """Do one round in a process of its own, and give what it found, or why it failed."""
    found = apart("row", asdict(replace(task, started=time.monotonic())))
    return found if isinstance(found, str) else Round.from_dict(found)


def film_in_process(film: Film) -> StageTimes | str:
    """Run over a video in a process of its own, and give where the time went, or why it failed."""
    found = apart("film", asdict(film))
    return found if isinstance(found, str) else StageTimes.from_dict(found)


PROCESSES = Workers(once=in_process, show=film_in_process)
