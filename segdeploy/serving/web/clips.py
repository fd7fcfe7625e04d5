"""Videos in requests: kept in a temporary file, answered with a line of JSON for each frame."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import Request

from segdeploy.errors import RequestError
from segdeploy.serving.engine.models import ServedModel
from segdeploy.serving.engine.scheduler import Ticket, Work
from segdeploy.serving.web.answers import describe, segment
from segdeploy.serving.web.body import unpacked_parts
from segdeploy.serving.web.service import Service
from segdeploy.system.files import temporary_folder
from segdeploy.video.frames import Frame
from segdeploy.video.reader import VideoSource

LINES = "application/x-ndjson"

MAGIC = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (8, b"AVI "), (0, b"FLV\x01"), (4, b"moov"))
"""Bytes at an offset by which a video is known: MP4, Matroska and WebM, AVI, FLV, QuickTime."""

FILE = "video"
"""Name of the temporary file: a client's name is never one of ours."""


def is_video(content: bytes) -> bool:
    """Return whether a body looks like a video, which only its decoder decides."""
    looks = any(content[at : at + len(mark)] == mark for at, mark in MAGIC)
    return looks or (content[:1] == b"G" and content[188:189] == b"G")


@asynccontextmanager
async def _place(service: Service) -> AsyncIterator[Path]:
    """Yield the path of a temporary file, while there is a place for one more video.

    Raises:
        RequestError: There is none.
    """
    if not service.videos.acquire(blocking=False):
        most = service.limits.videos
        msg = f"{most} videos are being segmented, which is all that may; send it again later"
        raise RequestError(msg, status=503, retry_after=10)
    try:
        with temporary_folder() as folder:
            yield folder / FILE
    finally:
        service.videos.release()


async def stream_clip(
    service: Service, model: ServedModel, content: bytes, included: Collection[str]
) -> AsyncIterator[bytes]:
    """Yield a line of JSON for each frame of a video in memory.

    Args:
        service: The server.
        model: Segments the frames.
        content: The video.
        included: Parts of each line, of `answers.INCLUDED`.

    Raises:
        RequestError: There is no place for it, or it is too large.
        DataError: It is no video.
    """
    async with _place(service) as path:
        await run_in_threadpool(path.write_bytes, content)
        async for line in _lines(service, model, path, included):
            yield line


async def stream_upload(
    service: Service, model: ServedModel, request: Request, included: Collection[str]
) -> AsyncIterator[bytes]:
    """Yield a line of JSON for each frame of a video that is the body of a request.

    Raises what `stream_clip` raises.
    """
    limits = service.limits
    async with _place(service) as path:
        with path.open("wb") as file:
            seconds = limits.read_seconds * max(1, limits.video // limits.body)
            async for part in unpacked_parts(request, limits.video, seconds):
                await run_in_threadpool(file.write, part)
        async for line in _lines(service, model, path, included):
            yield line


async def _lines(
    service: Service, model: ServedModel, path: Path, included: Collection[str]
) -> AsyncIterator[bytes]:
    lines = segment_clip(service, model, path, included)
    try:
        async for line in iterate_in_threadpool(lines):
            yield line
    finally:
        await run_in_threadpool(lines.close)


def segment_clip(
    service: Service, model: ServedModel, path: Path, included: Collection[str]
) -> Generator[bytes]:
    """Yield a line of JSON for each frame, as many at work as there are workers.

    Raises:
        RequestError: Its frames are too large, or too many.
        DataError: It is no video.
    """
    limits, tickets = service.limits, deque[Ticket[bytes]]()
    with VideoSource(path) as source:
        if source.width * source.height > limits.pixels:
            msg = (
                f"the frames have {source.width}x{source.height} pixels, more than"
                f" {limits.pixels}; make them smaller"
            )
            raise RequestError(msg, status=413)
        try:
            for count, frame in enumerate(source):
                if count >= limits.frames:
                    msg = f"the video has more than {limits.frames} frames; send a shorter one"
                    raise RequestError(msg, status=413)
                job = _line_of(frame, model, included)
                tickets.append(service.scheduler.submit(job, waits=True))
                if len(tickets) > service.scheduler.workers:
                    yield tickets.popleft().future.result()
            while tickets:
                yield tickets.popleft().future.result()
        finally:
            for ticket in tickets:
                service.scheduler.cancel(ticket)


def _line_of(
    frame: Frame, model: ServedModel, included: Collection[str]
) -> Callable[[Work], bytes]:
    def do(work: Work) -> bytes:
        result = segment(frame.image, model, work)
        with work.stage("encode"):
            values = {"frame": frame.index, "seconds": round(frame.seconds, 6)}
            return msgspec.json.encode({**values, **describe(result, included)}) + b"\n"

    return do
