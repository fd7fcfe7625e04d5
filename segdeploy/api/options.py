"""Options of streams and runs by the names that the command has, as values of the pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

from segdeploy.api.images import Color
from segdeploy.api.sources import Settings
from segdeploy.arrays import Image
from segdeploy.errors import ConfigError
from segdeploy.imaging.render_options import RenderOptions, read_background
from segdeploy.video.codecs import Encoding
from segdeploy.video.run_options import Schedule, Selection


class StreamOptions(TypedDict, total=False):
    """Options of `Network.stream`, as those of `segdeploy run`.

    Attributes:
        stride: Every how many frames one is taken.
        start: Seconds at which to start.
        end: Seconds at which to stop.
        max_frames: Maximum number of frames.
        throughput: One frame per core in parallel; False for all cores on one frame.
        serial: One stage after the other, without threads.
        threads: Cores that the network uses.
        batch: Frames per call of the network; None, the default, for the fastest on the device.
        smooth: "ema" or "hysteresis", to reduce flicker; results then have no `confidence`.
        color: Order of the channels of arrays and tensors.
        decoder: "cpu", "auto" or a hardware decoder.
        raw: Frames without a header on standard input, for example "1920x1080:bgr24@30".
    """

    stride: int
    start: float
    end: float | None
    max_frames: int | None
    throughput: bool
    serial: bool
    threads: int | None
    batch: int | None
    smooth: str | None
    color: Color | None
    decoder: str
    raw: str | None


class RunOptions(StreamOptions, total=False):
    """Options of `Network.run`, beside those of a stream.

    Attributes:
        opacity: Opacity of the colors in the overlay, in [0, 1].
        legend: Whether the overlay has a legend.
        contours: Whether the outlines of regions are drawn in opaque colors.
        classes: Names of the classes that are shown; all where there is none.
        palette: Name or file of other colors.
        background: What is behind a cutout: a color such as "00ff00", an image or its path.
        codec: Codec of videos: "h264", "hevc", "av1" or "vp9".
        crf: Quality of videos; 0 is the best.
        preset: Speed of the encoder.
        overwrite: Whether videos that exist are replaced.
    """

    opacity: float
    legend: bool
    contours: bool
    classes: Sequence[str]
    palette: str | None
    background: str | Path | Image | None
    codec: str
    crf: int | None
    preset: str | None
    overwrite: bool


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run reads, draws and writes.

    Attributes:
        settings: How the source is read and processed.
        render: What is saved, and how it is drawn.
        encoding: How videos are encoded.
        overwrite: Whether videos that exist are replaced.
    """

    settings: Settings
    render: RenderOptions
    encoding: Encoding
    overwrite: bool = False


def stream_settings(options: StreamOptions) -> Settings:
    """Return the settings of a stream.

    Raises:
        ConfigError: An option is unknown, or its value is impossible.
    """
    left: dict[str, Any] = {**options}
    settings = _take_settings(left)
    _refuse(left, StreamOptions, "stream")
    return settings


def run_settings(save: str | Sequence[str], options: RunOptions) -> RunSettings:
    """Return the settings of a run.

    Args:
        save: What is saved, as a list or a text with commas.
        options: All others.

    Raises:
        ConfigError: An option is unknown, or its value is impossible.
        DataError: The background cannot be read.
    """
    left: dict[str, Any] = {**options}
    left["kinds"] = _names(save)
    if "classes" in left:
        left["names"] = _names(left.pop("classes"))
    if isinstance(left.get("background"), str | Path):
        left["background"] = read_background(str(left["background"]))
    settings = _take_settings(left)
    render = RenderOptions(**_take(RenderOptions, left))
    encoding = Encoding(**_take(Encoding, left))
    overwrite = _take(RunSettings, left)
    _refuse(left, RunOptions, "run")
    return RunSettings(settings=settings, render=render, encoding=encoding, **overwrite)


def _names(values: str | Sequence[str]) -> tuple[str, ...]:
    parts = values.split(",") if isinstance(values, str) else values
    return tuple(dict.fromkeys(part.strip() for part in parts))


def _take_settings(options: dict[str, Any]) -> Settings:
    """Remove the options of reading and processing, and return them."""
    selection = Selection(**_take(Selection, options))
    # As in the command, the fastest batch is measured on a GPU.
    schedule = Schedule(**{"batch": None, **_take(Schedule, options)})
    return Settings(selection=selection, schedule=schedule, **_take(Settings, options))


def _take(kind: type, options: dict[str, Any]) -> dict[str, Any]:
    """Remove the options that are fields of a dataclass, and return them."""
    names = {field.name for field in fields(kind)} & options.keys()
    return {name: options.pop(name) for name in names}


def _refuse(options: dict[str, Any], known: type, what: str) -> None:
    """Raise a ConfigError for options that nothing took."""
    if options:
        names = ", ".join(known.__annotations__)
        msg = f"{what} has no option {min(options)!r}; known are {names}"
        raise ConfigError(msg)
