"""Streets: a dataset that is drawn, not downloaded."""

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
"""First number of every seed, so that no two splits, and no drive, ever share a street."""
DRIVES = 2


@dataclass(frozen=True, kw_only=True)
class Streets:
    """One split of drawn street scenes, with CamVid's classes.

    Attributes:
        split: "train" or "val".
        count: Number of scenes; the first ones of a longer split are the scenes of a shorter one.
        height: Height of each image, in pixels.
        width: Width of each image, in pixels.
        weather: The light of all scenes, one of `WEATHERS`; where None, each scene's own. The
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
        """Where the splits' streets come from."""
        return "drawn, each split from seeds of its own"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Draw one scene; it depends on the split and the index alone."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        canvas = paint(World((STREAMS[self.split], index), self.weather), self.height, self.width)
        return Sample(image=canvas.image, mask=canvas.mask, name=f"{index:06d}")


def drive(
    seed: int, *, height: int, width: int, rate: Fraction, weather: str | None = None
) -> Iterator[Sample]:
    """Drive through one street for as long as somebody asks for frames.

    Args:
        seed: Which street; 0 or more.
        height: Height of each frame, in pixels.
        width: Width of each frame, in pixels.
        rate: Frames a second.
        weather: Its light, one of `WEATHERS`; the street's own where None.

    Yields:
        One frame after the other, each with its truth, named by its number.
    """
    _check_size(height, width)
    world = drive_world(seed, weather)
    index = 0
    while True:
        canvas = paint(world, height, width, time=float(index / rate))
        yield Sample(image=canvas.image, mask=canvas.mask, name=f"{index:06d}")
        index += 1


def drive_world(seed: int, weather: str | None = None) -> World:
    """Return the street that a drive of this seed goes through, in a weather of `WEATHERS` or its own.

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
    """Write scenes as CamVid lays them out: images in `<split>`, ids in `<split>annot`.

    Args:
        scenes: What to write.
        folder: Where the two folders go; made if it is missing.
        on_step: Called with the name of each scene once it is written.

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
    """Open a split at its usual count and size.

    Raises:
        ConfigError: A folder was named, or there is no such split.
    """
    if data is not None:
        msg = f"the dataset 'streets' is drawn and reads no folder; leave out --data {data}"
        raise ConfigError(msg)
    return Streets(split=split, count=COUNTS.get(split, 1))
