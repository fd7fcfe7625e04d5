"""What decodes a video: the processor, or a part of a graphics device that is made for it."""

from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from segdeploy.errors import DataError, DeviceError

HARDWARE = ("cuda", "videotoolbox", "d3d11va", "vaapi", "qsv")
"""Devices by FFmpeg's names: NVIDIA's, Apple's, Windows', Linux' and Intel's, in the order in which `auto` tries them.

H.264, HEVC, AV1 and VP9 leave no choice to a decoder, so the frames are those of the processor, bit for bit.
"""


def open_video_file(path: Path, decoder: str) -> InputContainer:
    """Open a file for a decoder.

    Args:
        path: Video in any format that FFmpeg reads.
        decoder: One of `DECODERS`; "auto" takes the first device that decodes this file, else the processor.

    Raises:
        DataError: The file is missing or no video.
        DeviceError: The device that was asked for is not there, or does not decode this codec.
    """
    if not path.is_file():
        msg = f"there is no video {path}; check the name"
        raise DataError(msg)
    if decoder in HARDWARE:
        container = _on_device(path, decoder)
        if container is None:
            msg = f"the decoder {decoder!r} was asked for and does not decode {path}; choose another, auto or cpu"
            raise DeviceError(msg)
        return container
    found = (_on_device(path, device) for device in HARDWARE if decoder == "auto")
    return next((container for container in found if container), None) or _on_processor(path)


def _on_processor(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        msg = f"{path} is no video that can be read ({error.strerror}); take a whole copy of it"
        raise DataError(msg) from error


def _on_device(path: Path, device: str) -> InputContainer | None:
    """Open a file for a device; None where it is not there, or one frame shows that it does not decode this file."""
    # A file that nobody can read is told as such, and by no device's words.
    _on_processor(path).close()
    try:
        with av.open(str(path), hwaccel=HWAccel(device, allow_software_fallback=False)) as trial:
            stream = trial.streams.best("video")
            if stream is None or next(trial.decode(stream), None) is None or not trial.streams.video[0].codec_context.is_hwaccel:
                return None
        return av.open(str(path), hwaccel=HWAccel(device, allow_software_fallback=False))
    except (av.FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError):
        return None
