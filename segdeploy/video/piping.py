"""Results into a pipe, frame after frame, for another program to read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from segdeploy.errors import OutputError
from segdeploy.pictures import Picture
from segdeploy.scores import Mask
from segdeploy.video.drawing import MASK, OVERLAY
from segdeploy.video.frames import Film, Segmented
from segdeploy.video.saving import Outputs


@contextmanager
def pipe_outputs(film: Film, pipe: BinaryIO, *, kind: str, form: str) -> Iterator[Outputs]:
    """Send one kind of results into a pipe.

    Args:
        film: What is segmented.
        pipe: Usually standard output.
        kind: The overlay or the mask.
        form: "y4m", YUV4MPEG2, which tells its size and rate; or "raw", bare rows: blue-green-red of an overlay, a byte a pixel of a mask.

    Raises:
        OutputError: Whoever read from the pipe has closed it.
    """
    see: Callable[[Segmented], Picture | Mask] = {OVERLAY: lambda result: result.drawn[OVERLAY], MASK: lambda result: result.mask}[kind]
    send = _rows_into(pipe) if form == "raw" else _y4m_into(pipe, film, grey=kind == MASK)

    def write(result: Segmented) -> None:
        try:
            send(see(result))
            pipe.flush()
        except (OSError, av.FFmpegError) as error:
            msg = f"nobody reads from the pipe any more ({error.strerror or error}); what was sent is all that there is"
            raise OutputError(msg) from error

    yield Outputs(writers=(write,), paths=())


def _rows_into(pipe: BinaryIO) -> Callable[[Picture | Mask], None]:
    def send(picture: Picture | Mask) -> None:
        pipe.write(np.ascontiguousarray(picture).data)

    return send


def _y4m_into(pipe: BinaryIO, film: Film, *, grey: bool) -> Callable[[Picture | Mask], None]:
    """Give a function that sends pictures as Y4M; the header goes before the first one."""
    container = av.open(_Unseekable(pipe), "w", format="yuv4mpegpipe")
    stream = container.add_stream("wrapped_avframe", rate=film.rate)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = film.width, film.height, "gray" if grey else "yuv420p"
    stream.codec_context.sample_aspect_ratio = film.aspect
    stream.codec_context.time_base = Fraction(1, 1) / film.rate
    reformatter = VideoReformatter()
    sent = 0

    def send(picture: Picture | Mask) -> None:
        nonlocal sent
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray" if grey else "bgr24")
        if not grey:
            frame = reformatter.reformat(
                frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
            )
        frame.pts, frame.time_base = sent, 1 / film.rate
        container.mux(stream.encode(frame))
        sent += 1

    return send


class _Unseekable:
    """A pipe of which FFmpeg uses nothing but writing."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def write(self, data: bytes) -> int:
        """Write some bytes."""
        return self._pipe.write(data)
