"""What runs on each worker: the stages of `segdeploy run`, on one input after the other."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from segdeploy.backends.base import Backend, at_size
from segdeploy.backends.loading import load_backend
from segdeploy.backends.tta import AugmentedBackend
from segdeploy.batch.inputs import BatchInput, InputKind, TableRows
from segdeploy.batch.manifest import STAGING
from segdeploy.batch.storage import Storage, is_local, join, local_path
from segdeploy.errors import OutputError, SegdeployError
from segdeploy.imaging.bands import decode_for
from segdeploy.imaging.overlay import COCO, RLE
from segdeploy.imaging.render_options import RenderOptions
from segdeploy.system.concurrency import in_batches
from segdeploy.system.files import temporary_folder
from segdeploy.video.annotations import class_shares, polygon_annotations, rle_annotations
from segdeploy.video.codecs import Encoding
from segdeploy.video.frames import Frame, SegmentedFrame
from segdeploy.video.outputs import EXTENSIONS, to_files, video_outputs
from segdeploy.video.pipeline import Segmenter, VideoJob, best_batch, segment_all
from segdeploy.video.profiler import StageClock
from segdeploy.video.run_options import Schedule, Selection
from segdeploy.video.sources import open_video

Row = dict[str, Any]
"""A row of the manifest, by column."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """The artifact of a job; it can be sent to other processes.

    Attributes:
        name: Name of its file.
        checksum: SHA-256 of its file.
        files: Content of its file and of those that belong to it, by name.
    """

    name: str
    checksum: str
    files: Mapping[str, bytes]

    @classmethod
    def read(cls, path: Path, companions: Sequence[Path] = ()) -> "Model":
        """Return the model of a file."""
        files = {file.name: file.read_bytes() for file in (path, *companions) if file.is_file()}
        checksum = hashlib.sha256(files[path.name]).hexdigest()
        return cls(name=path.name, checksum=checksum, files=files)


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What a worker does with an input.

    Attributes:
        output: Folder of the results, at any address.
        storage: Where the inputs and the results are.
        column: Column of tables; None for the usual one.
        render: What is saved of each input.
        encoding: How videos are encoded.
        backend: Name of the runtime, or "auto".
        device: Device of the runtime.
        trust: Whether the artifact is loaded as it is.
        imgsz: Height and width of the network's input; None for its own.
        tta: Kinds of test-time augmentation.
        threads: Threads of the network.
    """

    output: str
    storage: Storage
    render: RenderOptions
    column: str | None = None
    encoding: Encoding = Encoding()  # noqa: RUF009 - it is frozen
    backend: str = "auto"
    device: str = "auto"
    trust: bool = False
    imgsz: tuple[int, int] | None = None
    tta: tuple[str, ...] = ()
    threads: int = 1


class Worker:
    """Segments inputs and writes their results; everything of it is in one process."""

    def __init__(self, model: Model, options: WorkerOptions, *, name: str = "local") -> None:
        """Load the network.

        Args:
            model: The artifact.
            options: What is done with each input.
            name: What the manifest calls the worker.

        Raises:
            SegdeployError: The network cannot be loaded.
        """
        self._options = options
        self._name = name
        self._checksum = model.checksum
        with temporary_folder() as folder:
            for file, content in model.files.items():
                (folder / file).write_bytes(content)
            self._backend = self._load(folder / model.name)
        is_cpu = "cpu" in self._backend.device.lower()
        self._batch = 1 if is_cpu else best_batch(self._backend)
        self._renderer = options.render.renderer(self._backend.card.classes)
        self._segmenter = Segmenter(self._backend, renderer=self._renderer, clock=StageClock())
        self._rows = TableRows(options.storage, options.column)

    def _load(self, path: Path) -> Backend:
        options = self._options
        cv2.setNumThreads(options.threads)
        network = load_backend(
            path,
            backend=options.backend,
            device=options.device,
            threads=options.threads,
            spinning=False,
            trust=options.trust,
            probe=False,
        )
        sized = at_size(network, options.imgsz)
        return AugmentedBackend(sized, options.tta) if options.tta else sized

    def run(self, inputs: Sequence[BatchInput]) -> list[Row]:
        """Segment inputs, and return a row of the manifest for each.

        The results of an input are all at their addresses before its row is returned.

        Raises:
            OutputError: A result cannot be written, so that no other can either.
        """
        rows: list[Row] = []
        with ExitStack() as stack:
            staging = self._open_staging(stack)
            images = [item for item in inputs if item.kind is InputKind.IMAGE]
            for batch in in_batches(images, self._batch):
                rows += self._run_images(batch, staging)
            for item in inputs:
                if item.kind is InputKind.VIDEO:
                    rows.append(self._run_video(item, staging))
        return rows

    def _open_staging(self, stack: ExitStack) -> Path:
        """Return a folder of this worker's own, on the disk of the results if that is local."""
        output = self._options.output
        if not is_local(output):
            return stack.enter_context(temporary_folder())
        parent = local_path(output) / STAGING
        parent.mkdir(parents=True, exist_ok=True)
        return stack.enter_context(temporary_folder(parent))

    def _run_images(self, items: Sequence[BatchInput], staging: Path) -> list[Row]:
        rows: list[Row] = []
        frames: list[Frame] = []
        read: list[tuple[BatchInput, Row, float]] = []
        for item in items:
            row = empty_row(item, self._name) | {"model": self._checksum}
            begin = time.perf_counter()
            try:
                content = self._read(item)
                row |= {"size": len(content), "checksum": hashlib.sha256(content).hexdigest()}
                image = decode_for(content, self._backend.card.input, name=item.path)
            except SegdeployError as error:
                rows.append(_failed(row, error, begin))
                continue
            frames.append(Frame(image=image, index=item.number, seconds=0.0))
            read.append((item, row, time.perf_counter() - begin))
        try:
            results = self._segmenter.segment(frames) if frames else []
        except (SegdeployError, MemoryError) as error:
            if len(items) > 1:
                return [row for item in items for row in self._run_images([item], staging)]
            return [*rows, _failed(read[0][1], error, time.perf_counter())]
        for (item, row, seconds), result in zip(read, results, strict=True):
            rows.append(self._finish_image(item, row, result, staging=staging, decode=seconds))
        return rows

    def _read(self, item: BatchInput) -> bytes:
        if item.row is None:
            return self._options.storage.read(item.path)
        return self._rows.read(item.path.rpartition("#")[0], item.row)

    def _finish_image(
        self, item: BatchInput, row: Row, result: SegmentedFrame, *, staging: Path, decode: float
    ) -> Row:
        """Write the results of an image, and return its row."""
        begin = time.perf_counter()
        classes = self._renderer.classes
        kinds = self._renderer.kinds
        outputs: list[str] = []
        for kind in kinds:
            if kind not in EXTENSIONS:
                continue
            part = staging / f"{item.number}-{kind}{EXTENSIONS[kind]}"
            to_files(kind, self._renderer, partial(_same, part))(result)
            outputs.append(self._publish(part, f"{kind}/{item.name}{EXTENSIONS[kind]}"))
        mask = result.mask
        stages = {"decode": decode, **result.stage_seconds}
        row |= {
            "frames": 1,
            "width": mask.shape[1],
            "height": mask.shape[0],
            "shares": json.dumps(class_shares(mask, classes), ensure_ascii=False),
            "outputs": outputs,
        }
        if RLE in kinds:
            row[RLE] = json.dumps([*rle_annotations(mask, len(classes))])
        if COCO in kinds:
            regions = polygon_annotations(
                mask, len(classes), min_area=self._options.render.min_area
            )
            row[COCO] = json.dumps([*regions])
        stages["write"] = time.perf_counter() - begin
        return row | {"stages": _to_json(stages), "seconds": sum(stages.values())}

    def _publish(self, part: Path, name: str) -> str:
        self._options.storage.publish(part, join(self._options.output, name))
        return name

    def _run_video(self, item: BatchInput, staging: Path) -> Row:
        """Segment a whole video as `segdeploy run` does, and return its row."""
        row = empty_row(item, self._name) | {"model": self._checksum}
        begin = time.perf_counter()
        folder = staging / str(item.number)
        folder.mkdir()
        try:
            path = self._fetch(item, folder)
            row |= {"size": path.stat().st_size, "checksum": _checksum(path)}
            row |= self._segment_video(item, path, folder / "results")
        except OutputError:
            raise
        except SegdeployError as error:
            return _failed(row, error, begin)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return row | {"seconds": time.perf_counter() - begin}

    def _fetch(self, item: BatchInput, folder: Path) -> Path:
        """Return a video as a file of this machine."""
        if is_local(item.path):
            return local_path(item.path)
        path = folder / Path(item.path).name
        self._options.storage.fetch(item.path, path)
        return path

    def _segment_video(self, item: BatchInput, path: Path, folder: Path) -> Row:
        with open_video(path, selection=Selection()) as opened:
            assert opened.video is not None
            opened.rename(Path(item.name).name)
            outputs = video_outputs(
                opened.video, folder, renderer=self._renderer, encoding=self._options.encoding
            )
            job = VideoJob(
                source=opened.source,
                backend=self._backend,
                outputs=outputs,
                renderer=self._renderer,
                schedule=Schedule(threads=self._options.threads, batch=self._batch),
            )
            times = segment_all(job).times
            row = {
                "frames": times.frames,
                "width": opened.video.width,
                "height": opened.video.height,
                "stages": _to_json({name: stage.total for name, stage in times.stages.items()}),
                "error": "; ".join(opened.source.losses) or None,
            }
        parent = Path(item.name).parent
        names = [
            self._publish(file, str(parent / file.relative_to(folder)))
            for file in sorted(_files_below(folder))
        ]
        return row | {"outputs": names}


def empty_row(item: BatchInput, worker: str) -> Row:
    """Return the row of an input of which nothing is known yet."""
    return {
        "number": item.number,
        "path": item.path,
        "name": item.name,
        "kind": item.kind.value,
        "size": item.size,
        "outputs": [],
        "worker": worker,
    }


def _failed(row: Row, error: BaseException, begin: float) -> Row:
    """Return the row of an input that cannot be segmented, with its sentence."""
    return row | {"error": str(error), "seconds": time.perf_counter() - begin}


def _same(path: Path, _index: int) -> Path:
    """Return the path, whatever the index."""
    return path


def _to_json(stages: Mapping[str, float]) -> str:
    return json.dumps({name: round(seconds, 6) for name, seconds in stages.items()})


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
