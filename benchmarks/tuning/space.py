"""What is searched: files, and the settings that each is run with."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from segdeploy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A file and its settings.

    Attributes:
        file: Name of the file, for example "onnx int8 360x480".
        throughput: Whether frames are processed in parallel, each by one thread.
        threads: Cores that the network uses.
        batch: Images per call of the network.
        every: Distance of two frames of a video that the network runs on.
        preset: Preset of the video encoder; "" for its default.
    """

    file: str
    throughput: bool
    threads: int
    batch: int = 1
    every: int = 1
    preset: str = ""

    @property
    def name(self) -> str:
        """The configuration in words, without what is usual."""
        parts = [self.file, "throughput" if self.throughput else "latency"]
        parts += [f"{self.threads} thread{'s' * (self.threads > 1)}"]
        parts += [f"batch {self.batch}"] * (self.batch > 1)
        parts += [f"every {self.every}"] * (self.every > 1)
        parts += [self.preset] * bool(self.preset)
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The settings that may be tried with each file.

    Attributes:
        modes: Whether frames are processed in parallel; both may be tried.
        threads: Numbers of cores.
        batches: Numbers of images per call.
        every: Distances of two frames that the network runs on.
        presets: Presets of the encoder, "" for its default.
    """

    modes: Sequence[bool]
    threads: Sequence[int]
    batches: Sequence[int] = (1,)
    every: Sequence[int] = (1,)
    presets: Sequence[str] = ("",)

    def plain(self, file: str) -> Configuration:
        """Return a file with the settings that are tried first."""
        return Configuration(
            file=file,
            throughput=self.modes[0],
            threads=max(self.threads),
            batch=self.batches[0],
            every=self.every[0],
            preset=self.presets[0],
        )

    def of(self, file: str) -> list[Configuration]:
        """Return every configuration of a file."""
        return [
            Configuration(
                file=file,
                throughput=mode,
                threads=threads,
                batch=batch,
                every=every,
                preset=preset,
            )
            for mode, threads, batch, every, preset in product(
                self.modes, self.threads, self.batches, self.every, self.presets
            )
        ]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What has to be kept; None for what may be anything.

    Attributes:
        fps: Frames per second at least.
        latency: Milliseconds of an image, 95th percentile, at most.
        memory: Bytes of the process at most.
        size: Bytes of the file at most.
        loss: Points of mIoU, or of agreement with the reference, that may be lost.
    """

    fps: float | None = None
    latency: float | None = None
    memory: int | None = None
    size: int | None = None
    loss: float

    def __post_init__(self) -> None:
        """Raise a ConfigError where a bound cannot be kept by anything."""
        for name in ("fps", "latency", "memory", "size"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                msg = f"the bound {name} is {value}; it must be more than 0"
                raise ConfigError(msg)

    @property
    def is_about_speed(self) -> bool:
        """Whether it is fast enough at some speed, so that accuracy decides beyond it."""
        return self.fps is not None or self.latency is not None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One measurement of a configuration, in a process of its own.

    Attributes:
        fps: Frames or images per second.
        latency: Milliseconds of a frame or an image, 95th percentile.
        memory: Peak bytes of the process.
    """

    fps: float
    latency: float
    memory: int
