"""Artifacts in, a report out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from segdeploy import datasets
from segdeploy.errors import ConfigError
from segdeploy.machine import survey
from segdeploy.scores import Scores

from .accuracy import judge
from .film import Film
from .latency import Latency
from .report import Figures, Labels, Report, Row
from .rounds import Outcome, Workers, measure_all, show_all
from .row import Task, chosen

CHECKPOINT = ".pt"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure, and how.

    Attributes:
        artifacts: The files; the first checkpoint among them is the reference.
        backend: Kind of runtime for all of them, or "auto".
        device: Device for all of them, or "auto".
        threads: Threads of each network; None for as many as there are cores.
        dataset: Name of the data set.
        data: Its folder, or None.
        split: Its split.
        pictures: How many of its pictures are answered; None for all.
        runs: Timed runs a round.
        warm_up: Runs before them that are not timed.
        rounds: Rounds, each in a process of its own.
        video: A video that each artifact is run over; None for none.
    """

    artifacts: tuple[Path, ...]
    backend: str
    device: str
    threads: int | None
    dataset: str
    data: Path | None
    split: str
    pictures: int | None
    runs: int
    warm_up: int
    rounds: int
    video: Path | None


def row_names(artifacts: Sequence[Path]) -> list[str]:
    """Name each artifact by its file, and by as much of its path as it takes to tell it from the others.

    Raises:
        ConfigError: One file is named twice.
    """
    for path in artifacts:
        if [other.resolve() for other in artifacts].count(path.resolve()) > 1:
            msg = f"{path} is named twice; name each artifact once"
            raise ConfigError(msg)
    names = [path.name for path in artifacts]
    return [path.name if names.count(path.name) == 1 else str(path) for path in artifacts]


def compare(plan: Plan, folder: Path, *, workers: Workers, on_step: Callable[[str], None]) -> Report:
    """Measure every artifact.

    Args:
        plan: What to measure.
        folder: An empty folder for masks and videos, which may be thrown away afterwards.
        workers: What does the work, usually in processes of its own.
        on_step: Is told a row's name after each of its rounds, and after its video.

    Raises:
        SegdeployError: The data set cannot be used; an artifact that cannot be used is a row that says so.
    """
    machine = survey()
    dataset = datasets.load(plan.dataset, plan.data, plan.split)
    indices = chosen(len(dataset), plan.pictures)
    names = dict(zip(row_names(plan.artifacts), plan.artifacts, strict=True))
    reference = next((name for name, path in names.items() if path.suffix == CHECKPOINT), None)
    folders = {name: folder / str(number) for number, name in enumerate(names)}
    for place in folders.values():
        place.mkdir()
    tasks = {name: task(plan, path, folders[name]) for name, path in names.items()}
    outcomes = measure_all(tasks, rounds=plan.rounds, once=workers.once, on_round=on_step)
    if plan.video is not None:
        films = {name: film(plan, path, folders[name]) for name, path in names.items()}
        outcomes = show_all(films, outcomes, show=workers.show, on_film=on_step)
    whole = {name: folders[name] for name, outcome in outcomes.items() if not outcome.error}
    judged = judge(whole, dataset, indices, reference=reference)
    return Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset=plan.dataset,
        split=plan.split,
        pictures=tuple(dataset.names[index] for index in indices),
        classes=tuple(entry.name for entry in dataset.classes),
        reference=reference,
        runs=plan.runs,
        rounds=plan.rounds,
        warm_up=plan.warm_up,
        machine=machine,
        load_after=survey().load,
        video=None if plan.video is None else str(plan.video),
        rows=tuple(row(name, path, outcomes[name], judged.get(name)) for name, path in names.items()),
    )


def film(plan: Plan, path: Path, folder: Path) -> Film:
    """Write down how one artifact is run over the video."""
    return Film(
        artifact=str(path), backend=plan.backend, device=plan.device, threads=plan.threads, video=str(plan.video), folder=str(folder)
    )


def task(plan: Plan, path: Path, answers: Path) -> Task:
    """Write down what a round of one artifact measures."""
    return Task(
        artifact=str(path),
        backend=plan.backend,
        device=plan.device,
        threads=plan.threads,
        dataset=plan.dataset,
        data=None if plan.data is None else str(plan.data),
        split=plan.split,
        pictures=plan.pictures,
        runs=plan.runs,
        warm_up=plan.warm_up,
        answers=str(answers),
        started=0.0,
    )


def row(name: str, path: Path, outcome: Outcome, judged: tuple[Scores, Labels | None] | None) -> Row:
    """Put together what is known of one artifact."""
    figures = None if judged is None else join(outcome, *judged)
    return Row(name=name, path=str(path), size=path.stat().st_size, figures=figures, error=outcome.error)


def join(outcome: Outcome, scores: Scores, labels: Labels | None) -> Figures:
    """Put the rounds of one artifact together; they agree in all but the times and the memory."""
    rounds = outcome.rounds
    peaks = [found.peak_memory for found in rounds if found.peak_memory is not None]
    return Figures(
        architecture=rounds[0].architecture,
        precision=rounds[0].precision,
        input=rounds[0].input,
        device=rounds[0].device,
        threads=rounds[0].threads,
        cold_start=Latency(rounds=tuple((found.cold_start,) for found in rounds)),
        latency=Latency.joined(found.latency for found in rounds),
        network=Latency.joined(found.network for found in rounds),
        peak_memory=max(peaks, default=None),
        scores=scores,
        labels=labels,
        video=outcome.video,
    )
