"""The dataset "streets": synthetic street scenes, rendered when they are read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from segdeploy.card import LabelClass
from segdeploy.datasets.dataset import Sample
from segdeploy.datasets.formats.camvid import CLASSES
from segdeploy.datasets.registry import register
from segdeploy.datasets.synthetic.lighting import WEATHERS
from segdeploy.datasets.synthetic.renderer import paint
from segdeploy.datasets.synthetic.world import World
from segdeploy.errors import ConfigError
from segdeploy.imaging.io import write_image

HEIGHT = 240
WIDTH = 320
COUNTS = {"train": 400, "val": 60}
STREAMS = {"train": 0, "val": 1}
"""First number of each seed, so that no two splits, and no drive, share a street."""
DRIVES = 2


@dataclass(frozen=True, kw_only=True)
class Streets:
    """One split of synthetic street scenes, with CamVid's classes.

    Attributes:
        split: "train" or "val".
        count: Number of scenes; the first ones of a longer split are the scenes of a shorter one.
        height: Height of each image, in pixels.
        width: Width of each image, in pixels.
        weather: Weather of all scenes, one of `WEATHERS`; where None, each scene has its own. The
            streets are the same.
    """

    split: str
    count: int
    height: int = HEIGHT
    width: int = WIDTH
    weather: str | None = None

    def __post_init__(self) -> None:
        if self.split not in STREAMS:
            msg = (
                f"the dataset 'streets' has no split {self.split!r}; choose one of"
                f" {', '.join(STREAMS)}"
            )
            raise ConfigError(msg)
        if self.count < 1:
            msg = f"the count of scenes is {self.count}; it must be 1 or more"
            raise ConfigError(msg)
        _check_size(self.height, self.width)
        _check_weather(self.weather)

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """CamVid's 11 classes."""
        return CLASSES

    @property
    def names(self) -> Sequence[str]:
        """Number of each scene, in six digits."""
        return [f"{index:06d}" for index in range(self.count)]

    @property
    def rule(self) -> str:
        """How the samples were split."""
        return "drawn, each split from seeds of its own"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Render one scene; it depends on the split and the index only."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        canvas = paint(World((STREAMS[self.split], index), self.weather), self.height, self.width)
        return Sample(image=canvas.image, mask=canvas.mask, name=f"{index:06d}")


def drive(
    seed: int, *, height: int, width: int, rate: Fraction, weather: str | None = None
) -> Iterator[Sample]:
    """Return the frames of an endless drive through one street.

    Args:
        seed: Seed of the street; 0 or more.
        height: Height of each frame, in pixels.
        width: Width of each frame, in pixels.
        rate: Frames per second.
        weather: Weather, one of `WEATHERS`; that of the street where None.

    Yields:
        One frame after the other, with its mask, named by its number.
    """
    _check_size(height, width)
    world = drive_world(seed, weather)
    index = 0
    while True:
        canvas = paint(world, height, width, time=float(index / rate))
        yield Sample(image=canvas.image, mask=canvas.mask, name=f"{index:06d}")
        index += 1


def drive_world(seed: int, weather: str | None = None) -> World:
    """Return the street of a drive by its seed; in a weather of `WEATHERS`, or its own.

    Raises:
        ConfigError: There is no such weather.
    """
    _check_weather(weather)
    return World((DRIVES, seed), weather)


def _check_size(height: int, width: int) -> None:
    for name, side in (("height", height), ("width", width)):
        if not 8 <= side <= 4320:
            msg = f"the {name} is {side} pixels; choose 8 to 4320"
            raise ConfigError(msg)


def _check_weather(weather: str | None) -> None:
    if weather is not None and weather not in WEATHERS:
        msg = f"there is no weather {weather!r}; choose one of {', '.join(WEATHERS)}"
        raise ConfigError(msg)


def save(scenes: Streets, folder: Path, *, on_step: Callable[[str], None]) -> None:
    """Write scenes in CamVid's layout: images in `<split>`, masks in `<split>annot`.

    Args:
        scenes: The scenes.
        folder: Parent of the two folders; created if it is missing.
        on_step: Called with the name of each scene after it is written.

    Raises:
        OutputError: A file cannot be written.
    """
    for index in range(len(scenes)):
        sample = scenes[index]
        write_image(folder / scenes.split / f"{sample.name}.png", sample.image)
        write_image(folder / f"{scenes.split}annot" / f"{sample.name}.png", sample.mask)
        on_step(sample.name)


@register("streets")
def open_streets(data: Path | None, split: str) -> Streets:
    """Open a split with its default count and size.

    Raises:
        ConfigError: A folder is given, or there is no such split.
    """
    if data is not None:
        msg = f"the dataset 'streets' is synthetic and reads no folder; leave out --data {data}"
        raise ConfigError(msg)
    return Streets(split=split, count=COUNTS.get(split, 1))
