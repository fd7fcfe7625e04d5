"""One run of `segdeploy tune`: files, a search among them, and what is written of it."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from segdeploy.backends.loading import read_card
from segdeploy.cli.console import echo, next_step, note, progress
from segdeploy.datasets.registry import resolve_for_card
from segdeploy.errors import GateError
from segdeploy.inference.tuned import SCHEMA, Settings, Tuned, checksum, here, write_tuned
from segdeploy.system.files import temporary_folder, write_text
from segdeploy.system.runs import newest_run, result_folder
from segdeploy.video.reader import VideoSource

from .bench import Accuracy, Journal, MachineBench
from .files import CHECKPOINT, FileSet, export_files
from .options import TuneOptions, to_scale
from .report import to_dict, to_html, to_markdown
from .solver import Candidate, Search, Solution


def run(options: TuneOptions) -> None:
    """Search, write and print what was found.

    Raises:
        GateError: Nothing keeps the budget.
        SegdeployError: The model, the film or the images cannot be used.
    """
    if options.video is not None:
        VideoSource(options.video).close()
    card = read_card(options.model)
    dataset: list[str] | None = None
    if options.max_miou_drop is not None:
        name, data = resolve_for_card(card, options.dataset, data=options.data)
        dataset = ["--dataset", name, *(["--data", str(data)] if data else []), "--split", "val"]
    output, name = options.output, options.name or options.model.stem
    if options.resume and output is None:
        output = newest_run("tune", name)
    with (
        result_folder("tune", name, output=output) as folder,
        temporary_folder() as work,
        progress("tuning", None) as step,
    ):
        solution, files = search(options, folder, work, dataset=dataset, step=step)
        report(options, folder, solution, files)


def search(
    options: TuneOptions,
    folder: Path,
    work: Path,
    *,
    dataset: Sequence[str] | None,
    step: Callable[[str], None],
) -> tuple[Solution, FileSet]:
    """Make the files and search them.

    Args:
        options: Options of the command.
        folder: Folder of the run.
        work: An empty folder for masks.
        dataset: Options of `segdeploy eval` that name the labeled images; None for agreement.
        step: Called before each measurement.
    """
    processor, count = here()
    bench = MachineBench(
        paths={},
        accuracy=Accuracy(reference=options.model, dataset=dataset),
        video=options.video,
        images=options.image,
        device=options.device,
        trust=options.trust,
        folder=work,
        journal=Journal(
            folder / "trials.jsonl",
            {
                "model": checksum(options.model),
                "input": str(options.video or " ".join(map(str, options.image))),
                "machine": f"{processor}, {count}",
                "dataset": list(dataset or ()),
            },
        ),
        seconds=60 * options.minutes,
    )

    def on_step(text: str) -> None:
        step(f"{text}; {bench.left() * options.minutes:.1f} min left")

    files = make_files(options, folder, bench, on_step)
    bench.paths = files.paths
    found = Search(
        space=options.space,
        budget=options.budget,
        bench=bench,
        rounds=options.rounds,
        on_step=on_step,
    )
    return found.solve(list(files.paths)), files


def make_files(
    options: TuneOptions, folder: Path, bench: MachineBench, on_file: Callable[[str], None]
) -> FileSet:
    """Export a checkpoint; any other file is the only one."""
    if options.model.suffix != CHECKPOINT:
        return FileSet(paths={options.model.name: options.model}, notes=())
    chosen = [] if options.dataset is None else ["--dataset", options.dataset]
    chosen += [] if options.data is None else ["--data", str(options.data)]
    if options.max_miou_drop is not None:
        chosen += ["--max-miou-drop", str(options.max_miou_drop)]
    files = folder / "files"
    files.mkdir(exist_ok=True)
    made = export_files(
        options.model,
        files,
        scales=[to_scale(scale) for scale in options.scales],
        options=chosen,
        left=lambda: bench.left() * bench.seconds,
        on_file=on_file,
    )
    return FileSet(paths={**made.paths, options.model.name: options.model}, notes=made.notes)


def report(options: TuneOptions, folder: Path, solution: Solution, files: FileSet) -> None:
    """Write the report and what was chosen, and print them.

    Raises:
        GateError: Nothing keeps the budget.
    """
    loss = " points of mIoU" if options.max_miou_drop is not None else "% of the labels"
    processor, count = here()
    source = options.video or f"{len(options.image)} folders or images"
    facts = [options.model.name, str(source), f"{processor}, {count} cores"]
    values = to_dict(solution, options.budget, loss=loss, notes=files.notes)
    text = to_markdown(solution, options.budget, loss=loss, notes=files.notes)
    write_text(folder / "tune.json", json.dumps(values, indent=2) + "\n")
    write_text(folder / "tune.md", text)
    page = to_html(solution, options.budget, loss=loss, notes=files.notes, facts=facts)
    write_text(folder / "tune.html", page)
    if solution.choice is not None:
        path = files.paths[solution.choice.configuration.file]
        write_tuned(folder / "tuned.toml", to_tuned(solution.choice, path, folder, loss=loss))
    echo(json.dumps(values, indent=2) if options.as_json else text, nl=not options.as_json)
    note(f"report: {folder / 'tune.html'}")
    if solution.choice is None:
        msg = f"{solution.reason}; allow more, or search more: see 'segdeploy tune --help'"
        raise GateError(msg)
    measured_on = options.video or options.image[0]
    next_step("segdeploy", "run", "--tuned", folder / "tuned.toml", measured_on)


def to_tuned(choice: Candidate, path: Path, folder: Path, *, loss: str) -> Tuned:
    """Return what is written as `tuned.toml` into a folder."""
    processor, count = here()
    chosen, (low, high) = choice.configuration, choice.fps_range
    is_inside = path.resolve().is_relative_to(folder.resolve())
    model = path.resolve().relative_to(folder.resolve()) if is_inside else path.resolve()
    return Tuned(
        schema=SCHEMA,
        model=model.as_posix(),
        sha256=checksum(path),
        processor=processor,
        cores=count,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=Settings(
            mode="throughput" if chosen.throughput else "latency",
            threads=chosen.threads,
            batch=chosen.batch,
            every=chosen.every,
            preset=chosen.preset,
        ),
        measured={
            "fps": round(choice.fps, 2),
            "fps_least": round(low, 2),
            "fps_most": round(high, 2),
            "latency_p95_ms": round(choice.latency, 2),
            "memory_bytes": float(choice.memory),
            "size_bytes": float(choice.size),
            "lost": round(choice.loss or 0.0, 3),
            "lost_unit": loss.strip(),
        },
    )
