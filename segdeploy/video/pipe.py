"""Write Y4M or raw frames into a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from segdeploy.arrays import Image, Mask
from segdeploy.errors import OutputError
from segdeploy.imaging.overlay import MASK, OVERLAY
from segdeploy.video.color import to_bt709
from segdeploy.video.frames import Outputs, SegmentedFrame, VideoInfo


@contextmanager
def pipe_outputs(info: VideoInfo, pipe: BinaryIO, *, kind: str, form: str) -> Iterator[Outputs]:
    """Write one kind of results into a pipe.

    Args:
        info: The video that is segmented.
        pipe: Usually standard output.
        kind: The overlay or the mask.
        form: "y4m", YUV4MPEG2, whose header has size and rate; or "raw", rows without a header:
            blue-green-red of an overlay, one byte per pixel of a mask.

    Raises:
        OutputError: The reading end of the pipe was closed, or there is no room for it.
    """
    select: Callable[[SegmentedFrame], Image | Mask] = {
        OVERLAY: lambda result: result.drawn[OVERLAY],
        MASK: lambda result: result.mask,
    }[kind]
    send = _raw_sender(pipe) if form == "raw" else _y4m_sender(pipe, info, gray=kind == MASK)

    def write(result: SegmentedFrame) -> None:
        try:
            send(select(result))
            pipe.flush()
        except (BrokenPipeError, av.error.BrokenPipeError) as error:
            msg = "the pipe was closed by its reader; frames after that are not written"
            raise OutputError(msg) from error
        except (OSError, av.FFmpegError) as error:
            msg = (
                f"cannot write frames to the pipe ({error.strerror or error}); frames after that"
                " are not written"
            )
            raise OutputError(msg) from error

    yield Outputs(writers=(write,), paths=())


def _raw_sender(pipe: BinaryIO) -> Callable[[Image | Mask], None]:
    def send(image: Image | Mask) -> None:
        pipe.write(np.ascontiguousarray(image).data)

    return send


def _y4m_sender(pipe: BinaryIO, info: VideoInfo, *, gray: bool) -> Callable[[Image | Mask], None]:
    """Return a function that writes images as Y4M; the header goes before the first one."""
    container = av.open(_Unseekable(pipe), "w", format="yuv4mpegpipe")
    stream = container.add_stream("wrapped_avframe", rate=info.rate)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = info.width, info.height
    stream.pix_fmt = "gray" if gray else "yuv420p"
    stream.codec_context.sample_aspect_ratio = info.aspect
    stream.codec_context.time_base = Fraction(1, 1) / info.rate
    reformatter = VideoReformatter()
    sent = 0

    def send(image: Image | Mask) -> None:
        nonlocal sent
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image, np.uint8), format="gray" if gray else "bgr24"
        )
        if not gray:
            frame = to_bt709(frame, reformatter)
        frame.pts, frame.time_base = sent, 1 / info.rate
        container.mux(stream.encode(frame))
        sent += 1

    return send


class _Unseekable:
    """A pipe that FFmpeg can only write to."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def write(self, data: bytes) -> int:
        """Write some bytes."""
        return self._pipe.write(data)
