"""A batch job from its inputs to its manifest and summary."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from segdeploy.batch.cluster import ClusterOptions, WorkerPool, connected
from segdeploy.batch.inputs import InputList
from segdeploy.batch.manifest import JobIdentity, Manifest
from segdeploy.batch.storage import join
from segdeploy.batch.worker import Model, Row, Worker, WorkerOptions
from segdeploy.card import LabelClass
from segdeploy.errors import DataError, InterruptedRun
from segdeploy.imaging.overlay import COCO, RLE
from segdeploy.system.machine import cores
from segdeploy.video.outputs import RECORDS

SUMMARY, PAGE = "summary.json", "report.html"

SAMPLE = 5
"""Images by which the time of a job is estimated."""

MOST_SENTENCES = 20
"""Errors that a summary shows."""


@dataclass(kw_only=True)
class Summary:
    """What a job did; it grows with each row.

    Attributes:
        inputs: Inputs of the job.
        done: Those that have a row, with those of the interrupted job.
        segmented: Those that this job segmented.
        frames: Images and frames that this job segmented.
        errors: Those that could not be read, or not as a whole.
        seconds: Wall time from the first worker's start, in seconds.
        startup: Seconds until the first row.
        replaced: Workers that ended and were replaced.
        workers: Inputs by worker.
        stages: Seconds in each stage, over all workers.
        sentences: Errors, at most `MOST_SENTENCES`.
    """

    inputs: int
    done: int = 0
    segmented: int = 0
    frames: int = 0
    errors: int = 0
    seconds: float = 0.0
    startup: float = 0.0
    replaced: int = 0
    workers: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    sentences: list[str] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row of this job."""
        self.done += 1
        self.segmented += 1
        self.frames += row.get("frames") or 0
        self.workers[row["worker"]] += 1
        if row.get("error"):
            self.errors += 1
            if len(self.sentences) < MOST_SENTENCES:
                self.sentences.append(row["error"])
        for stage, seconds in json.loads(row.get("stages") or "{}").items():
            self.stages[stage] += seconds

    @property
    def working(self) -> float:
        """Seconds since the first row, without the start of the workers."""
        return self.seconds - self.startup

    @property
    def rate(self) -> float:
        """Images and frames per second (wall time)."""
        return self.frames / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as values of JSON, times in seconds."""
        stages = {name: round(seconds, 3) for name, seconds in self.stages.items()}
        return {
            **asdict(self),
            "images_per_second": round(self.rate, 3),
            "seconds": round(self.seconds, 3),
            "startup": round(self.startup, 3),
            "workers": dict(self.workers),
            "stages": stages,
        }


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """What to segment, with what, where, and when to give up.

    Attributes:
        model: The artifact.
        classes: Its classes.
        inputs: All inputs.
        worker: What is done with each.
        cluster: Which machines work.
        settings: What must be the same when the job is resumed.
        resume: Whether an interrupted job is continued.
        max_errors: How many inputs may fail before the job ends; None for all.
    """

    model: Model
    classes: Sequence[LabelClass]
    inputs: InputList
    worker: WorkerOptions
    cluster: ClusterOptions
    settings: Mapping[str, str]
    resume: bool = False
    max_errors: int | None = None


Progress = Callable[[Summary], None]
"""Called with the summary so far after each input that is done."""


def run_job(
    job: BatchJob, folder: Path, *, on_row: Progress, should_stop: Callable[[], bool]
) -> Summary:
    """Segment all inputs that have no row yet, and return the summary.

    Whatever ends it, the manifest has a row for each input whose results are written, and for no
    other.

    Args:
        job: What to do.
        folder: Folder of this machine for temporary files.
        on_row: Shows the progress.
        should_stop: Returns whether to stop: inputs in work are finished, no others begun.

    Raises:
        InterruptedRun: The job was stopped.
        DataError: More inputs failed than may.
        SegdeployError: The job cannot go on.
    """
    manifest = Manifest(job.worker.output, job.worker.storage)
    identity = JobIdentity(model=job.model.checksum, settings=job.settings)
    manifest.open(identity, resume=job.resume)
    summary = Summary(inputs=job.inputs.count.inputs, done=len(manifest.done))
    try:
        if summary.done < summary.inputs:
            _run_workers(job, manifest, summary, on_row=on_row, should_stop=should_stop)
    finally:
        manifest.flush(force=True)
    if should_stop():
        msg = (
            f"interrupted after {summary.done} of {summary.inputs} inputs; add --resume to do the"
            " others"
        )
        raise InterruptedRun(msg)
    manifest.finish(folder)
    for kind in (RLE, COCO):
        if kind in job.worker.render.kinds and job.inputs.count.images:
            manifest.write_annotations(kind, RECORDS[kind], job.classes, folder)
    return summary


def _run_workers(
    job: BatchJob,
    manifest: Manifest,
    summary: Summary,
    *,
    on_row: Progress,
    should_stop: Callable[[], bool],
) -> None:
    begin = time.monotonic()
    chunks = job.inputs.chunks(skipped=frozenset(manifest.done))
    with connected(job.cluster, cores=cores()) as able:
        workers = min(able, summary.inputs - summary.done)
        pool = WorkerPool(job.model, job.worker, workers=workers, resources=job.cluster.needed)
        try:
            for rows in pool.run(chunks, should_stop=should_stop):
                summary.seconds = time.monotonic() - begin
                summary.startup = summary.startup or (summary.seconds if rows else 0.0)
                _add_rows(rows, manifest, summary, on_row=on_row)
                manifest.flush()
                check_errors(summary, job.max_errors)
        finally:
            summary.replaced = pool.replaced
            pool.close()


def _add_rows(
    rows: Sequence[Row], manifest: Manifest, summary: Summary, *, on_row: Progress
) -> None:
    for row in rows:
        manifest.add(row)
        summary.add(row)
        on_row(summary)


def check_errors(summary: Summary, most: int | None) -> None:
    """Check that no more inputs failed than may.

    Raises:
        DataError: More did.
    """
    if most is not None and summary.errors > most:
        msg = (
            f"{summary.errors} inputs could not be read, and --max-errors is {most}; the first:"
            f" {summary.sentences[0]}"
        )
        raise DataError(msg)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a job would take.

    Attributes:
        images: Images.
        videos: Videos, which the estimate leaves out.
        bytes: Sizes of all inputs, in bytes.
        workers: Workers that are counted with.
        seconds_per_image: Seconds of one worker for an image, from a sample; None without images.
        seconds: Seconds of all images; None without.
    """

    images: int
    videos: int
    bytes: int
    workers: int
    seconds_per_image: float | None
    seconds: float | None

    @property
    def text(self) -> str:
        """The estimate in one or two lines."""
        line = (
            f"{self.images:,} images and {self.videos:,} videos, {self.bytes / 1e6:,.1f} MB;"
            f" {self.workers} workers"
        )
        if self.seconds is None or self.seconds_per_image is None:
            return line
        return (
            f"{line}\nabout {spoken(self.seconds)} for the images:"
            f" {self.seconds_per_image * 1000:.1f} ms each for one worker, by a sample"
        )


def spoken(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def estimate(job: BatchJob, *, scratch: Path) -> Estimate:
    """Return what a job would take, by a sample that is segmented here; nothing is kept.

    Args:
        job: The job.
        scratch: Folder of this machine for the sample's results.
    """
    count = job.inputs.count
    workers = job.cluster.workers or cores()
    sample = job.inputs.sample(SAMPLE)
    each = None
    if sample:
        values = {name: getattr(job.worker, name) for name in job.worker.__dataclass_fields__}
        worker = Worker(job.model, WorkerOptions(**(values | {"output": str(scratch)})))
        worker.run(sample[:1])
        begin = time.perf_counter()
        worker.run(sample)
        each = (time.perf_counter() - begin) / len(sample)
    return Estimate(
        images=count.images,
        videos=count.videos,
        bytes=count.bytes,
        workers=workers,
        seconds_per_image=each,
        seconds=None if each is None else each * count.images / workers,
    )


def write_summary(summary: Summary, job: BatchJob, page: str) -> list[str]:
    """Write the summary as JSON and as a page, and return their addresses."""
    texts = {SUMMARY: json.dumps(summary.to_dict(), indent=2) + "\n", PAGE: page}
    addresses = []
    for name, text in texts.items():
        address = join(job.worker.output, name)
        job.worker.storage.write(address, text.encode(errors="backslashreplace"))
        addresses.append(address)
    return addresses
