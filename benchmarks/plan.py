"""The plan of a benchmark and its execution: artifacts in, a report out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from segdeploy import datasets
from segdeploy.backends.loading import kind_of
from segdeploy.datasets.dataset import Dataset
from segdeploy.errors import ConfigError
from segdeploy.system.machine import Machine, describe_machine

from .measure.accuracy import Pair, other_names, score_masks, worst_pairs
from .measure.peers import PEERS
from .measure.rounds import Outcome, Workers, measure_all, repeat_until_stable, run_videos
from .measure.video_worker import VideoTask
from .measure.worker import Task, image_indices, mask_name
from .results.report import Report, Row
from .results.row import Accuracy, RowResult
from .results.variant import Variant

CHECKPOINT = ".pt"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure: each artifact with each runtime, number of threads, batch and input size.

    Attributes:
        artifacts: The files; the first checkpoint among them is the reference, or, with peers and
            without a checkpoint, the first of all.
        backends: Kinds of runtime, or "auto"; a file is not run by a runtime of another kind.
        device: Device for all of them, or "auto".
        trust: Whether the files are loaded as they are.
        threads: Threads of each network; None for one per core.
        batches: Images per call of the network.
        sizes: Height and width of the networks' inputs, in pixels; None for their own.
        peers: Names of peers, each a row beside ours, on the first artifact that it takes.
        dataset: Name of the dataset.
        data: Its folder, or None.
        split: Its split.
        images: How many of its images are segmented; None for all.
        runs: Timed runs a round.
        warm_up: Runs before them that are not timed.
        rounds: Rounds, each in a process of its own.
        until_stable: Whether rounds are added, up to 12, until each median is known within 5%.
        video: A video that each artifact is run over; None for none.
    """

    artifacts: tuple[Path, ...]
    backends: tuple[str, ...] = ("auto",)
    device: str = "auto"
    trust: bool = False
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
    """Return a name for each artifact: its file's, or its path where another has the same name.

    Raises:
        ConfigError: One file is named twice.
    """
    for path in artifacts:
        if [other.resolve() for other in artifacts].count(path.resolve()) > 1:
            msg = f"{path} is named twice; name each artifact once"
            raise ConfigError(msg)
    names = [path.name for path in artifacts]
    return [path.name if names.count(path.name) == 1 else str(path) for path in artifacts]


def variants_of(plan: Plan) -> dict[str, Variant]:
    """Return every variant of every artifact by the name of its row.

    A row is named by its file and by what differs among the rows of that file.

    Raises:
        ConfigError: One file is named twice.
    """
    variants = {}
    for name, path in zip(artifact_names(plan.artifacts), plan.artifacts, strict=True):
        # A file that none of the runtimes runs becomes a row that fails.
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
            variants[", ".join([name, *parts])] = Variant(
                artifact=str(path),
                backend=backend,
                device=plan.device,
                trust=plan.trust,
                threads=threads,
                batch=batch,
                size=size,
            )
    for peer in plan.peers:
        path = next(path for path in plan.artifacts if path.suffix in PEERS[peer].suffixes)
        variants[peer] = Variant(
            artifact=str(path),
            device=plan.device,
            trust=plan.trust,
            threads=plan.threads[0],
            peer=peer,
        )
    return variants


def reference_of(plan: Plan) -> Path | None:
    """Return the artifact that the others are compared with.

    The first checkpoint; without one, the first artifact of all if there are peers, or None.
    """
    first = plan.artifacts[0] if plan.peers else None
    return next((path for path in plan.artifacts if path.suffix == CHECKPOINT), first)


def run_plan(
    plan: Plan, folder: Path, *, workers: Workers, on_step: Callable[[str], None]
) -> tuple[Report, tuple[Pair, ...]]:
    """Measure every row.

    Args:
        plan: What to measure.
        folder: An empty folder for masks and videos, not needed afterwards.
        workers: What runs the tasks, usually in processes of its own.
        on_step: Called with a row's name after each of its rounds, and after its video.

    Returns:
        The report, and the images that differ most.

    Raises:
        SegdeployError: The dataset cannot be used; an artifact that cannot be used is a row with
            the reason.
    """
    machine = describe_machine()
    dataset = datasets.load(plan.dataset, plan.data, plan.split)
    indices = image_indices(len(dataset), plan.images)
    variants = variants_of(plan)
    folders = {name: folder / str(number) for number, name in enumerate(variants)}
    for row_folder in folders.values():
        row_folder.mkdir()
    outcomes = _measure(plan, variants, folders, workers=workers, on_step=on_step)
    # A peer with a network of its own writes no masks: its weights are random.
    written = {
        name: row_folder
        for name, row_folder in folders.items()
        if not outcomes[name].error and (row_folder / mask_name(indices[0])).exists()
    }
    reference = _reference_name(plan, variants)
    accuracies = score_masks(written, dataset, indices, reference=reference)
    rows = tuple(
        make_row(name, variant, outcomes[name], accuracies.get(name))
        for name, variant in variants.items()
    )
    images = tuple(dataset.names[index] for index in indices)
    report = make_report(plan, dataset, rows, images=images, reference=reference, machine=machine)
    return report, worst_pairs(report, written, dataset, indices)


def _measure(
    plan: Plan,
    variants: dict[str, Variant],
    folders: dict[str, Path],
    *,
    workers: Workers,
    on_step: Callable[[str], None],
) -> dict[str, Outcome]:
    """Measure the rounds of all rows, then their videos."""
    tasks = {name: make_task(plan, variant, folders[name]) for name, variant in variants.items()}
    outcomes = measure_all(tasks, rounds=plan.rounds, measure=workers.measure, on_round=on_step)
    if plan.until_stable:
        outcomes = repeat_until_stable(tasks, outcomes, measure=workers.measure, on_round=on_step)
    if plan.video is None:
        return outcomes
    video_tasks = {
        name: VideoTask(variant=variant, video=str(plan.video), folder=str(folders[name]))
        for name, variant in variants.items()
        if not variant.peer
    }
    return run_videos(video_tasks, outcomes, run_video=workers.run_video, on_video=on_step)


def _reference_name(plan: Plan, variants: dict[str, Variant]) -> str | None:
    """Return the name of the first row of the reference; None without a reference."""
    reference = reference_of(plan)
    return next(
        (name for name, variant in variants.items() if Path(variant.artifact) == reference), None
    )


def make_task(plan: Plan, variant: Variant, masks: Path) -> Task:
    """Return the task of one round of one row; its masks go into a folder."""
    return Task(
        variant=variant,
        dataset=plan.dataset,
        data=None if plan.data is None else str(plan.data),
        split=plan.split,
        images=plan.images,
        runs=plan.runs,
        warm_up=plan.warm_up,
        masks=str(masks),
        started=0.0,
    )


def make_row(name: str, variant: Variant, outcome: Outcome, accuracy: Accuracy | None) -> Row:
    """Return a row of a report."""
    result = (
        None
        if outcome.error
        else RowResult(rounds=outcome.rounds, accuracy=accuracy, video=outcome.video)
    )
    has_file = not (variant.peer and PEERS[variant.peer].own_network)
    size = file_size(Path(variant.artifact)) if has_file else None
    return Row(name=name, variant=variant, size=size, result=result, error=outcome.error)


def make_report(
    plan: Plan,
    dataset: Dataset,
    rows: tuple[Row, ...],
    *,
    images: tuple[str, ...],
    reference: str | None,
    machine: Machine,
) -> Report:
    """Return the report of a plan's rows."""
    return Report(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset=plan.dataset,
        split=plan.split,
        images=images,
        classes=tuple(entry.name for entry in dataset.classes),
        reference=reference,
        runs=plan.runs,
        rounds=plan.rounds,
        warm_up=plan.warm_up,
        machine=machine,
        load_after=describe_machine().load,
        video=None if plan.video is None else str(plan.video),
        rows=rows,
        notes=other_names(plan.artifacts, dataset.classes),
    )


def file_size(path: Path) -> int:
    """Return the bytes of an artifact, with the second file or the folder that belongs to it."""
    parts = (
        [part for part in path.rglob("*") if part.is_file()]
        if path.is_dir()
        else [path, *kind_of(path).companions(path)]
    )
    return sum(part.stat().st_size for part in parts if part.exists())
