"""The command `segdeploy batch`."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdeploy import assets
from segdeploy.cli.console import echo, note, progress
from segdeploy.cli.models import bundled_model
from segdeploy.cli.options import (
    Artifact,
    Command,
    device_option,
    json_option,
    option,
    options,
    plugin_option,
    section,
    trust_option,
)
from segdeploy.cli.run_inputs import backend_option, imgsz_option, tta_option
from segdeploy.cli.run_outputs import encoding_options
from segdeploy.cli.run_render import render_options
from segdeploy.errors import ConfigError, DataError, MissingExtraError
from segdeploy.imaging.overlay import COCO, RLE
from segdeploy.imaging.palettes import PALETTES
from segdeploy.imaging.render_options import RenderOptions
from segdeploy.system.files import temporary_folder
from segdeploy.system.signals import stoppable
from segdeploy.video.codecs import Encoding
from segdeploy.video.outputs import EXTENSIONS

if TYPE_CHECKING:
    from segdeploy.batch.inputs import InputList
    from segdeploy.batch.job import BatchJob, Estimate, Summary
    from segdeploy.batch.storage import Storage

LOCAL = "local"

NOTE_SECONDS = 30.0
"""Seconds between two lines of progress where stderr is no terminal."""


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Options of `segdeploy batch`.

    Attributes:
        model: The artifact; None for a bundled model.
        backend: Name of the runtime, or "auto".
        device: Device of the runtime.
        trust: Whether the file is loaded as it is.
        imgsz: Height and width of the network's input; None for its own.
        tta: Kinds of test-time augmentation.
        threads: Threads of the network in one worker.
        inputs: Addresses of the inputs.
        column: Column of tables; None for the usual one.
        output: Address of the folder of the results.
        storage: Options of the file systems, KEY=VALUE each.
        render: What is saved of each input.
        encoding: How videos are encoded.
        address: Which machines work.
        workers: Number of workers; as many as the resources allow where None.
        resources: What one worker takes, NAME=NUMBER each.
        max_errors: How many inputs may fail before the job ends; None for all.
        resume: Whether an interrupted job is continued.
        dry_run: Whether only is said what there is to do.
        as_json: Whether the summary is printed as JSON.
    """

    model: Path | None
    backend: str
    device: str
    trust: bool
    imgsz: tuple[int, int] | None
    tta: tuple[str, ...]
    threads: int
    inputs: tuple[str, ...]
    column: str | None
    output: str
    storage: tuple[str, ...]
    render: RenderOptions
    encoding: Encoding
    address: str
    workers: int | None
    resources: tuple[str, ...]
    max_errors: int | None
    resume: bool
    dry_run: bool
    as_json: bool

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: Something is saved that a job does not write, or is not on other machines.
        """
        known = (*EXTENSIONS, RLE, COCO)
        if odd := [kind for kind in self.render.kinds if kind not in known]:
            msg = (
                f"a batch does not write {odd[0]}; choose from {', '.join(known)}; the shares of"
                " the classes are in the manifest"
            )
            raise ConfigError(msg)
        palette = self.render.palette
        if palette and palette not in PALETTES and self.address != LOCAL:
            msg = (
                f"{palette} is a file of this machine; use a palette by name, or --address {LOCAL}"
            )
            raise ConfigError(msg)

    @property
    def settings(self) -> Mapping[str, str]:
        """What must be the same when the job is resumed: what decides about the results."""
        background = self.render.background
        render = replace(self.render, background=None)
        return {
            "render": repr(render),
            "background": "" if background is None else sha256(background.tobytes()).hexdigest(),
            "encoding": repr(self.encoding),
            "imgsz": repr(self.imgsz),
            "tta": ",".join(self.tta),
        }

    @property
    def needed(self) -> Mapping[str, float]:
        """What one worker takes, by Ray's name."""
        amounts = {"CPU": float(self.threads)}
        for text in self.resources:
            name, _, amount = text.partition("=")
            try:
                amounts[name] = float(amount)
            except ValueError:
                amounts[name] = -1
            if not name or not 0 < amounts[name] < 1e6:
                msg = f"--resources {text} is no amount; write NAME=NUMBER, for example GPU=1"
                raise ConfigError(msg)
        return amounts


@click.command(cls=Command)
@section(
    "Model",
    option(
        "--model",
        type=Artifact(),
        show_default="the bundled model that suits the machine",
        help=f"An .onnx, .torchscript or .pt file, or a bundled model: {', '.join(assets.FILES)}.",
    ),
    device_option,
    backend_option,
    imgsz_option,
    tta_option,
    trust_option,
)
@section(
    "Input",
    option(
        "--input",
        "inputs",
        multiple=True,
        required=True,
        metavar="ADDRESS",
        help="Images, videos, folders, patterns, lists of addresses (.txt) or tables (.parquet),"
        " on this machine or at s3://, gs:// and others; may be repeated.",
    ),
    option(
        "--column",
        show_default="path, bytes, image or url",
        help="Column of a table that holds addresses or bytes of images.",
    ),
    option(
        "--storage-option",
        "storage",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of a storage, such as endpoint_url=http://host:9000 or anon=true. Credentials"
        " are taken from the environment.",
    ),
)
@section(
    "Output",
    option(
        "--output",
        required=True,
        metavar="ADDRESS",
        help="Folder for the results, the manifest and the report.",
    ),
    option("--resume", is_flag=True, help="Do what the manifest of an interrupted job lacks."),
    option(
        "--max-errors",
        type=click.IntRange(min=0),
        show_default="any number",
        help="End the job once more inputs than that could not be read.",
    ),
    option(
        "--dry-run",
        is_flag=True,
        help="Say how many inputs there are and how long they would take, by a sample.",
    ),
)
@render_options
@section("Output", json_option("the summary"))
@section(
    "Machines",
    option(
        "--address",
        default=LOCAL,
        help=f"{LOCAL} for this machine; auto, or an address such as ray://host:10001, for a Ray"
        " cluster.",
    ),
    option(
        "--workers",
        type=click.IntRange(min=1),
        show_default="as many as the machines have room for",
        help="Number of workers.",
    ),
    option(
        "--threads",
        default=1,
        type=click.IntRange(min=1),
        help="Cores of one worker, which its network uses.",
    ),
    option(
        "--resources",
        multiple=True,
        metavar="NAME=NUMBER",
        help="What one worker takes beside its cores, for example GPU=1; may be repeated.",
    ),
)
@encoding_options
@plugin_option
@options(BatchOptions)
def batch(options: BatchOptions) -> None:
    """Segment many images and videos on the machines of a Ray cluster, or on this one.

    For example: segdeploy batch --model best.onnx --input 's3://bucket/day/*.jpg' --output
    s3://bucket/masks --save mask --address auto
    """
    from segdeploy.batch.inputs import list_inputs
    from segdeploy.batch.storage import Storage, absolute, read_options

    needed = options.needed
    storage = Storage(read_options(options.storage))
    storage.check(options.output)
    with stoppable() as stop, temporary_folder() as folder, extra_checked():
        from segdeploy.batch.job import estimate, run_job

        inputs = list_inputs(
            options.inputs, storage, column=options.column, path=folder / "inputs.jsonl"
        )
        job = prepare(options, inputs, storage, output=absolute(options.output), needed=needed)
        if options.dry_run:
            print_estimate(estimate(job, scratch=folder / "sample"), as_json=options.as_json)
            return
        with shown_progress(job) as step:
            summary = run_job(job, folder, on_row=step, should_stop=lambda: stop.requested)
    print_summary(summary, job, as_json=options.as_json)


@contextmanager
def extra_checked() -> Iterator[None]:
    """Turn a missing library of the block into an error that names the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in {"fsspec", "pyarrow", "ray"}:
            raise
        raise MissingExtraError(library, "batch") from error


def prepare(
    options: BatchOptions,
    inputs: "InputList",
    storage: "Storage",
    *,
    output: str,
    needed: Mapping[str, float],
) -> "BatchJob":
    """Return the job of the options, its model checked once.

    Raises:
        SegdeployError: The model cannot be loaded, or does not fit the options.
    """
    from segdeploy.backends.loading import kind_of, load_backend
    from segdeploy.batch.cluster import ClusterOptions
    from segdeploy.batch.job import BatchJob
    from segdeploy.batch.worker import Model, WorkerOptions

    path = options.model or bundled_model(options.device)
    backend = load_backend(
        path, backend=options.backend, device=options.device, threads=1, trust=options.trust
    )
    classes = backend.card.classes
    options.render.renderer(classes)
    return BatchJob(
        model=Model.read(path, kind_of(path).companions(path)),
        classes=classes,
        inputs=inputs,
        worker=WorkerOptions(
            output=output,
            storage=storage,
            column=options.column,
            render=options.render,
            encoding=options.encoding,
            backend=options.backend,
            device=options.device,
            trust=options.trust,
            imgsz=options.imgsz,
            tta=options.tta,
            threads=options.threads,
        ),
        cluster=ClusterOptions(address=options.address, workers=options.workers, resources=needed),
        settings=options.settings,
        resume=options.resume,
        max_errors=options.max_errors,
    )


@contextmanager
def shown_progress(job: "BatchJob") -> Iterator[Callable[["Summary"], None]]:
    """Show a bar on a terminal, and else a line now and then; yield what is called per input."""
    from segdeploy.batch.job import spoken

    last = time.monotonic()
    with progress("batch", job.inputs.count.inputs) as step:

        def show(summary: "Summary") -> None:
            nonlocal last
            now = time.monotonic()
            rate = summary.segmented / max(summary.working, 1e-3)
            step(f"{rate:.1f} a second")
            is_due = now - last >= NOTE_SECONDS and summary.working > 1
            if is_due and not sys.stderr.isatty():
                last = now
                left = (summary.inputs - summary.done) / rate
                note(
                    f"{summary.done:,} of {summary.inputs:,} inputs, {rate:.1f} a second, about"
                    f" {spoken(left)} left"
                )

        yield show


def print_estimate(found: "Estimate", *, as_json: bool) -> None:
    """Print what a job would take."""
    echo(json.dumps(asdict(found), indent=2) if as_json else found.text)


def print_summary(summary: "Summary", job: "BatchJob", *, as_json: bool) -> None:
    """Write the summary and its page, and print where the results are.

    Raises:
        DataError: Inputs could not be read.
    """
    from segdeploy.batch.job import write_summary
    from segdeploy.batch.manifest import MANIFEST
    from segdeploy.batch.storage import join
    from segdeploy.reports.batch import to_html

    output = job.worker.output
    values = summary.to_dict()
    paths = write_summary(summary, job, to_html(values, model=job.model.name, output=output))
    if as_json:
        echo(json.dumps(values, indent=2))
    else:
        echo("\n".join([join(output, MANIFEST), *paths]))
        echo(
            f"{summary.done:,} of {summary.inputs:,} inputs in {summary.seconds:.1f} s:"
            f" {summary.rate:.1f} images per second (wall time); {summary.errors} errors"
        )
    if summary.errors:
        msg = (
            f"{summary.errors} of {summary.inputs} inputs could not be read, or not as a whole; the"
            f" manifest says why; the first: {summary.sentences[0]}"
        )
        raise DataError(msg)
