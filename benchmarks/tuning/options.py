"""The options of `segdeploy tune`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from segdeploy.cli.options import (
    Artifact,
    NameList,
    dataset_options,
    device_option,
    json_option,
    option,
    plugin_option,
    section,
    trust_option,
)
from segdeploy.cli.serve import read_bytes, read_seconds
from segdeploy.errors import ConfigError
from segdeploy.system.machine import cores
from segdeploy.video.codecs import CODECS

from ..options import Counts
from .space import Budget, Space

LEAST_AGREEMENT = 98.0
"""Percentage of the pixels that keep the label of the reference where no other bound is given."""

F = TypeVar("F", bound=Callable[..., Any])
N = TypeVar("N", int, float)


def bound(
    read: Callable[[click.Context, click.Parameter, str], N],
) -> Callable[[click.Context, click.Parameter, str | None], N | None]:
    """Return a callback that reads a number with its unit where the option is given."""
    return lambda context, param, text: None if text is None else read(context, param, text)


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """Options of the command, by their parameter names."""

    model: Path
    video: Path | None
    image: tuple[Path, ...]
    fps: float | None
    latency_p95: float | None
    max_memory: int | None
    max_size: int | None
    max_miou_drop: float | None
    min_agreement: float | None
    minutes: float
    scales: tuple[str, ...]
    threads: tuple[int, ...] | None
    batches: tuple[int, ...]
    every: tuple[int, ...]
    presets: tuple[str, ...]
    rounds: int
    dataset: str | None
    data: Path | None
    device: str
    trust: bool
    name: str | None
    output: Path | None
    resume: bool
    as_json: bool

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            click.UsageError: Nothing, or two things, are named to measure on.
            ConfigError: A bound does not fit what is measured.
        """
        if bool(self.video) == bool(self.image):
            msg = "name what to measure on: either --video FILM, or --image FOLDER"
            raise click.UsageError(msg)
        checks = (
            (self.fps and not self.video, "--fps is of a film; add --video, or use --latency-p95"),
            (self.latency_p95 and self.video, "--latency-p95 is of images; use --fps for a film"),
            (max(self.every) > 1 and not self.video, "--every is for a film; leave it out"),
            (any(self.presets) and not self.video, "--preset is for a film; leave it out"),
            (
                self.max_miou_drop is not None and self.min_agreement is not None,
                "--max-miou-drop and --min-agreement bound the same; give one of the two",
            ),
            (
                self.max_miou_drop is not None and max(self.every) > 1,
                "what --every loses is measured by agreement; bound it by --min-agreement",
            ),
        )
        for is_wrong, msg in checks:
            if is_wrong:
                raise ConfigError(msg)
        for scale in self.scales:
            if not 0.25 <= to_scale(scale) <= 1:
                msg = f"the scale {scale} is not within 0.25 and 1; write for example 1,0.75,0.5"
                raise ConfigError(msg)

    @property
    def budget(self) -> Budget:
        """What has to be kept."""
        agreement = LEAST_AGREEMENT if self.min_agreement is None else self.min_agreement
        return Budget(
            fps=self.fps,
            latency=None if self.latency_p95 is None else 1000 * self.latency_p95,
            memory=self.max_memory,
            size=self.max_size,
            loss=100 - agreement if self.max_miou_drop is None else self.max_miou_drop,
        )

    @property
    def space(self) -> Space:
        """What may be tried; images are segmented one after the other."""
        return Space(
            modes=(True, False) if self.video else (False,),
            threads=self.threads or (cores(),),
            batches=self.batches,
            every=self.every,
            presets=("", *self.presets),
        )


def to_scale(text: str) -> float:
    """Return the number of a text; 0 where it is none."""
    try:
        return float(text)
    except ValueError:
        return 0.0


DECORATORS = (
    click.argument("model", type=Artifact()),
    section(
        "Input",
        option(
            "--video", type=click.Path(path_type=Path), help="A film like those to be run over."
        ),
        option(
            "--image",
            multiple=True,
            type=click.Path(path_type=Path),
            help="An image or a folder like those to be segmented; may be repeated.",
        ),
    ),
    section(
        "Budget",
        option(
            "--fps", type=click.FloatRange(min=0, min_open=True), help="Frames per second at least."
        ),
        option(
            "--latency-p95",
            metavar="TIME",
            callback=bound(read_seconds),
            help="95% of the images within this time, for example 40ms.",
        ),
        option(
            "--max-memory",
            metavar="SIZE",
            callback=bound(read_bytes),
            help="Memory at most, for example 300MB.",
        ),
        option(
            "--max-size",
            metavar="SIZE",
            callback=bound(read_bytes),
            help="Size of the file at most, for example 5MB.",
        ),
        option(
            "--max-miou-drop",
            type=click.FloatRange(0, 100),
            help="Points of mIoU that may be lost on the labeled dataset.",
        ),
        option(
            "--min-agreement",
            type=click.FloatRange(0, 100),
            show_default="98 without --max-miou-drop",
            help="Percentage of the pixels that keep the label of MODEL, in place of the drop.",
        ),
        option(
            "--minutes", default=15.0, type=click.FloatRange(min=0.5), help="How long to search."
        ),
    ),
    section(
        "Search",
        option(
            "--scale",
            "scales",
            default=("1", "0.75", "0.5"),
            type=NameList(),
            metavar="S,S",
            help="Shares of the network's own input size, of a checkpoint.",
        ),
        option(
            "--threads",
            type=Counts(),
            show_default="every core",
            help="Cores, or several numbers with commas.",
        ),
        option(
            "--batch",
            "batches",
            default="1",
            type=Counts(),
            help="Images per call of the network, or several numbers with commas.",
        ),
        option(
            "--every",
            default="1",
            type=Counts(),
            help="Distances of two frames that the network may run on; see segdeploy run.",
        ),
        option(
            "--preset",
            "presets",
            default=(),
            type=NameList(CODECS["h264"].presets),
            metavar="NAME,NAME",
            help="Presets of the encoder that may be chosen beside its default.",
        ),
        option("--rounds", default=5, type=click.IntRange(min=2), help="Rounds of the finalists."),
    ),
    dataset_options,
    section("Model", device_option, trust_option),
    section(
        "Output",
        option("--name", show_default="the model's", help="Name of the run's folder."),
        option(
            "--output",
            type=click.Path(file_okay=False, path_type=Path),
            show_default="runs/tune/NAME",
            help="Folder of the files and the report.",
        ),
        option("--resume", is_flag=True, help="Continue the newest search of that name."),
        json_option("what was found"),
    ),
    plugin_option,
)


def tune_options(command: F) -> F:
    """Add the options to a command, in the order of `DECORATORS`."""
    for decorator in reversed(DECORATORS):
        command = decorator(command)
    return command
