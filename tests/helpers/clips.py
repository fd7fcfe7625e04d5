"""Short videos and tones, written by the encoders of this machine."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from segdeploy.arrays import Image
from segdeploy.video.codecs import Encoding
from segdeploy.video.writer import VideoSink

FAST = Encoding(preset="ultrafast")


def write_clip(
    path: Path,
    images: Iterable[Image],
    *,
    rate: Fraction | int = 25,
    audio: Path | None = None,
    encoding: Encoding = FAST,
) -> Path:
    """Write images of one size, (H, W, 3) uint8 BGR, at a constant rate, and return the path."""
    left = iter(images)
    first = next(left)
    height, width = first.shape[:2]
    rate = Fraction(rate)
    with VideoSink(
        path, width=width, height=height, rate=rate, audio=audio, encoding=encoding
    ) as sink:
        for index, image in enumerate((first, *left)):
            sink.write(image, seconds=float(index / rate))
    return path


def gray_frames(count: int, *, height: int = 48, width: int = 64, step: int = 4) -> Iterable[Image]:
    """Return frames of one gray each, `step` levels brighter from one to the next."""
    return (np.full((height, width, 3), step * index % 256, np.uint8) for index in range(count))


def write_tone(
    path: Path, seconds: float = 1, *, codec: str = "pcm_s16le", rate: int = 8000
) -> Path:
    """Write a mono tone of 440 Hz and amplitude 9000 as an audio file, and return its path."""
    times = np.arange(round(seconds * rate)) / rate
    samples = (9000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        for start in range(0, len(samples), rate // 10):
            frame = av.AudioFrame.from_ndarray(
                samples[None, start : start + rate // 10], format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path
