"""Artifacts in, a report out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from segdeploy import datasets
from segdeploy.backends.loading import kind_of
from segdeploy.errors import ConfigError
from segdeploy.system.machine import survey

from .measure.accuracy import Pair, gallery, judge, other_names
from .measure.peers import PEERS
from .measure.rounds import Outcome, Workers, measure_all, repeat_until_stable, show_all
from .measure.video_worker import Film
from .measure.worker import Task, answer_name, chosen
from .results.report import Report, Row
from .results.row import Accuracy, Figures
from .results.variant import Variant

CHECKPOINT = ".pt"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure, and how.

    Each artifact with each runtime, count of threads, size of batch and size of input.

    Attributes:
        artifacts: The files; the first checkpoint among them is the reference, or the first of all
            beside loops of others.
        backends: Kinds of runtime, or "auto"; one that does not run a file's kind is left out for
            it.
        device: Device for all of them, or "auto".
        threads: Threads of each network; None for as many as there are cores.
        batches: How many images a network is given at once.
        sizes: Height and width of the networks' inputs, in pixels; None for their own.
        peers: Loops that others would write, each a row beside ours, on the first artifact that it
            can be given.
        dataset: Name of the dataset.
        data: Its folder, or None.
        split: Its split.
        images: How many of its images are answered; None for all.
        runs: Timed runs a round.
        warm_up: Runs before them that are not timed.
        rounds: Rounds, each in a process of its own.
        until_stable: Whether rounds are repeated, 12 at most, until each median is known within 5%.
        video: A video that each artifact is run over; None for none.
    """

    artifacts: tuple[Path, ...]
    backends: tuple[str, ...] = ("auto",)
    device: str = "auto"
    threads: tuple[int | None, ...] = (None,)
    batches: tuple[int, ...] = (1,)
    sizes: tuple[tuple[int, int] | None, ...] = (None,)
    peers: tuple[str, ...] = ()
    dataset: str
    data: Path | None
    split: str
    images: int | None
    runs: int
    warm_up: int
    rounds: int
    until_stable: bool = False
    video: Path | None = None


def artifact_names(artifacts: Sequence[Path]) -> list[str]:
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


def ways_of(plan: Plan) -> dict[str, Variant]:
    """Return every way in which every artifact is run, by the name of its row.

    The file's, and what tells it from the file's other rows.

    Raises:
        ConfigError: One file is named twice.
    """
    ways = {}
    for name, path in zip(artifact_names(plan.artifacts), plan.artifacts, strict=True):
        # A file that none of the runtimes runs is a row that says so.
        backends = [
            backend for backend in plan.backends if backend in ("auto", kind_of(path).name)
        ] or plan.backends[:1]
        for backend, threads, batch, size in product(
            backends, plan.threads, plan.batches, plan.sizes
        ):
            parts = [backend] * (len(backends) > 1)
            parts += [f"{threads} thread{'s' * (threads != 1)}"] * (len(plan.threads) > 1)
            parts += [f"batch {batch}"] * (len(plan.batches) > 1)
            parts += ["{}x{}".format(*size) if size else "own size"] * (len(plan.sizes) > 1)
            way = Variant(
                artifact=str(path),
                backend=backend,
                device=plan.device,
                threads=threads,
                batch=batch,
                size=size,
            )
            ways[", ".join([name, *parts])] = way
    for peer in plan.peers:
        path = next(path for path in plan.artifacts if path.suffix in PEERS[peer].endings)
        ways[peer] = Variant(
            artifact=str(path), device=plan.device, threads=plan.threads[0], peer=peer
        )
    return ways


def reference_of(plan: Plan) -> Path | None:
    """Return the artifact that the others are compared with.

    The first checkpoint, or the first of all beside loops of others.
    """
    first = plan.artifacts[0] if plan.peers else None
    return next((path for path in plan.artifacts if path.suffix == CHECKPOINT), first)


def compare(
    plan: Plan, folder: Path, *, workers: Workers, on_step: Callable[[str], None]
) -> tuple[Report, tuple[Pair, ...]]:
    """Measure every row.

    Args:
        plan: What to measure.
        folder: An empty folder for masks and videos, which may be thrown away afterwards.
        workers: What does the work, usually in processes of its own.
        on_step: Is told a row's name after each of its rounds, and after its video.

    Returns:
        The report, and the images that differ most.

    Raises:
        SegdeployError: The dataset cannot be used; an artifact that cannot be used is a row that
            says so.
    """
    machine = survey()
    dataset = datasets.load(plan.dataset, plan.data, plan.split)
    indices = chosen(len(dataset), plan.images)
    ways = ways_of(plan)
    reference = next(
        (name for name, way in ways.items() if Path(way.artifact) == reference_of(plan)), None
    )
    folders = {name: folder / str(number) for number, name in enumerate(ways)}
    for place in folders.values():
        place.mkdir()
    tasks = {name: task(plan, way, folders[name]) for name, way in ways.items()}
    outcomes = measure_all(tasks, rounds=plan.rounds, once=workers.once, on_round=on_step)
    if plan.until_stable:
        outcomes = repeat_until_stable(tasks, outcomes, once=workers.once, on_round=on_step)
    if plan.video is not None:
        films = {
            name: Film(way=way, video=str(plan.video), folder=str(folders[name]))
            for name, way in ways.items()
            if not way.peer
        }
        outcomes = show_all(films, outcomes, show=workers.show, on_film=on_step)
    # A peer with a network of its own writes no masks: its weights are random.
    written = {
        name: place for name, place in folders.items() if (place / answer_name(indices[0])).exists()
    }
    answers = {name: place for name, place in written.items() if not outcomes[name].error}
    judged = judge(answers, dataset, indices, reference=reference)
    report = Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset=plan.dataset,
        split=plan.split,
        images=tuple(dataset.names[index] for index in indices),
        classes=tuple(entry.name for entry in dataset.classes),
        reference=reference,
        runs=plan.runs,
        rounds=plan.rounds,
        warm_up=plan.warm_up,
        machine=machine,
        load_after=survey().load,
        video=None if plan.video is None else str(plan.video),
        rows=tuple(row(name, way, outcomes[name], judged.get(name)) for name, way in ways.items()),
        notes=other_names(plan.artifacts, dataset.classes),
    )
    return report, gallery(report, answers, dataset, indices)


def task(plan: Plan, way: Variant, answers: Path) -> Task:
    """Write down what a round of one row measures."""
    return Task(
        way=way,
        dataset=plan.dataset,
        data=None if plan.data is None else str(plan.data),
        split=plan.split,
        images=plan.images,
        runs=plan.runs,
        warm_up=plan.warm_up,
        answers=str(answers),
        started=0.0,
    )


def row(name: str, way: Variant, outcome: Outcome, accuracy: Accuracy | None) -> Row:
    """Put together what is known of one row."""
    figures = (
        None
        if outcome.error
        else Figures(rounds=outcome.rounds, accuracy=accuracy, video=outcome.video)
    )
    size = None if way.peer and PEERS[way.peer].foreign else file_size(Path(way.artifact))
    return Row(name=name, way=way, size=size, figures=figures, error=outcome.error)


def file_size(path: Path) -> int:
    """Return the bytes of an artifact, with the second file or the folder that belongs to it."""
    parts = (
        [one for one in path.rglob("*") if one.is_file()]
        if path.is_dir()
        else [path, *kind_of(path).companions(path)]
    )
    return sum(part.stat().st_size for part in parts if part.exists())
