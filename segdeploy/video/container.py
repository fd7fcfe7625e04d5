"""Open containers with FFmpeg: which formats and protocols, and how files are named to it.

What a file is must not make FFmpeg open other files or addresses, as a playlist does.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import av
from av.container import InputContainer

from segdeploy.errors import DataError

if TYPE_CHECKING:
    from av.codec.hwaccel import HWAccel

FORMATS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "live_flv", "asf", "nut", "ogg", "mxf"),
    *("mpegvideo", "m4v", "h261", "h263", "h264", "hevc", "vvc", "av1", "obu", "ivf", "vc1"),
    *("mjpeg", "mpjpeg", "yuv4mpegpipe", "rawvideo", "gif", "apng", "dv", "gxf", "rm", "wtv"),
    *("dhav", "cavsvideo", "dirac", "wav", "w64", "mp3", "aac", "ac3", "eac3", "flac", "aiff"),
    *("caf", "au", "amr"),
)
"""FFmpeg's names of the formats of videos and audio that hold all of it themselves."""

STREAM_FORMATS = (*FORMATS, "hls", "rtsp", "rtp")
"""Formats that an address may have."""

STREAM_PROTOCOLS = (
    *("http", "https", "httpproxy", "tcp", "tls", "udp", "rtp", "srtp", "crypto", "srt"),
    *("rtsp", "rtsps", "rtmp", "rtmps", "rtmpt", "rtmpts"),
)
"""Protocols of addresses, and those that they stand on; none of them reaches a file."""

TIMEOUTS = (10.0, 10.0)
"""Seconds that opening an address and each read from it may take."""


def file_address(path: Path) -> str:
    """Return the name of a file for FFmpeg, which takes "10:30 door.mp4" for an address."""
    return f"file:{path}"


def open_file(
    path: Path,
    *,
    form: str | None = None,
    hwaccel: "HWAccel | None" = None,
) -> InputContainer:
    """Open a file; it holds everything that is read.

    Args:
        path: The file.
        form: The format that it has, where that is known.
        hwaccel: Hardware decoder.

    Raises:
        av.FFmpegError: It cannot be read.
        OSError: The same, as the system reports it.
    """
    return av.open(
        file_address(path),
        format=form,
        hwaccel=hwaccel,
        options=_allowed(FORMATS, ("file",)),
        metadata_errors="replace",
    )


def connect(address: str) -> InputContainer:
    """Open an address: RTSP, HTTP and the other protocols of `STREAM_PROTOCOLS`.

    Raises:
        DataError: There is no response, or it is not a video.
    """
    options = _allowed(STREAM_FORMATS, STREAM_PROTOCOLS)
    if address.startswith("rtsp"):
        # Over UDP, the default, lost packets would tear frames apart.
        options["rtsp_transport"] = "tcp"
    try:
        return av.open(address, timeout=TIMEOUTS, options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        msg = f"no video can be read from {address} ({reason(error)}); check the address"
        raise DataError(msg) from error


def open_pipe(pipe: BinaryIO, *, form: str | None, options: dict[str, str]) -> InputContainer:
    """Open frames that arrive through a pipe.

    Args:
        pipe: Usually standard input.
        form: FFmpeg's name of the format; detected where None.
        options: Options of that format.

    Raises:
        av.FFmpegError: It is not a video.
    """
    return av.open(
        pipe,
        "r",
        format=form,
        options={**_allowed(FORMATS, ()), **options},
        metadata_errors="replace",
    )


def start_time(container: InputContainer) -> float:
    """Return the first timestamp of a file in seconds; recordings need not begin at 0."""
    return (container.start_time or 0) / av.time_base


def reason(error: Exception) -> str:
    """Return why a file could not be opened, in a few words."""
    # FFmpeg's answer where the format is not one of those allowed.
    if isinstance(error, av.ArgumentError):
        return "its format is not one that is read"
    return str(getattr(error, "strerror", None) or error)


def _allowed(formats: tuple[str, ...], protocols: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of FFmpeg that allow these formats and protocols only."""
    return {
        "format_whitelist": ",".join(formats),
        **({"protocol_whitelist": ",".join(protocols)} if protocols else {}),
    }
