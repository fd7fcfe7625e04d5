"""How an image becomes the network's input: size, channels, numbers, and what they mean."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Literal

from msgspec import Struct

from segdeploy.errors import CardError

MAX_SIDE = 16384
MAX_CHANNELS = 64

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and deviation of red, green, blue in [0, 1] over ImageNet, which pretrained backbones
expect."""

COLORS = ("red", "green", "blue")
"""Channels of a color image, in the order in which a network takes them."""

LARGEST: Mapping[str, int] = {"uint8": 255, "uint16": 65535, "float32": 1}
"""The number of each type that the rule "unit" maps to 1."""

Fit = Literal["stretch", "pad"]
Resample = Literal["halving", "linear", "pillow-bilinear", "pillow-bicubic", "pillow-lanczos"]
Dtype = Literal["uint8", "uint16", "float32"]
Rule = Literal["unit", "range", "window", "percentile"]
Numbers = tuple[float, ...]


class Intensity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which stored numbers become 0 and 1, before mean and std.

    Attributes:
        rule: "unit", by the range of the type; float32 stays as it is. "range", two given numbers;
            "window", around a center, as radiology does; "percentile", of the training split. All
            but the first map numbers outside to 0 and 1.
        low: What becomes 0, a number for each channel; empty for "unit".
        high: What becomes 1, likewise.
    """

    rule: Rule = "unit"
    low: Numbers = ()
    high: Numbers = ()


class InputSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an image becomes the network's input.

    Attributes:
        height: Height of the network's input, in pixels.
        width: Width of the network's input, in pixels.
        mean: Mean of each channel (red, green, blue) in units of the intensity, usually [0, 1],
            which the graph itself subtracts.
        std: Deviation of each channel in the same units, by which the graph itself divides.
        fit: "stretch" to the size, or "pad" at the right and the bottom to keep the image's
            aspect ratio.
        stride: Height and width must be multiples of it.
        dynamic: Whether the file takes any multiple of the stride; height and width are the usual
            size then.
        bgr: Whether the network was trained on BGR: the graph itself reverses the channels; mean
            and std are still those of red, green, blue.
        resample: How an image is resized. "halving", ours: halved while it is twice too large, then
            bilinear; "linear", OpenCV's bilinear; and Pillow's filters, which torchvision's
            antialiased ones equal.
        channels: Names of the channels, in the order of the network's input.
        dtype: Type of the numbers that the network takes, as files store them.
        bands: Which bands of a file the channels are, numbered from 1; empty for all, in order.
        intensity: Which numbers become 0 and 1.
    """

    height: int
    width: int
    mean: Numbers
    std: Numbers
    fit: Fit = "stretch"
    stride: int = 1
    dynamic: bool = False
    bgr: bool = False
    resample: Resample = "halving"
    channels: tuple[str, ...] = COLORS
    dtype: Dtype = "uint8"
    bands: tuple[int, ...] = ()
    intensity: Intensity = Intensity()

    @property
    def is_color(self) -> bool:
        """Whether the channels are red, green and blue; such an image is held blue-green-red."""
        return self.channels == COLORS

    @property
    def is_plain(self) -> bool:
        """Whether the network takes usual images: red, green and blue, uint8."""
        return all(getattr(self, key) == default for key, default in BAND_DEFAULTS.items())

    @property
    def limits(self) -> tuple[Numbers, Numbers]:
        """The numbers of each channel that become 0 and 1."""
        if self.intensity.rule == "unit":
            count = len(self.channels)
            return (0.0,) * count, (float(LARGEST[self.dtype]),) * count
        return self.intensity.low, self.intensity.high

    @property
    def neutral(self) -> Numbers:
        """The number of each channel that becomes zero once normalized: padding, and no data."""
        numbers = (
            low + mean * (high - low)
            for mean, low, high in zip(self.mean, *self.limits, strict=True)
        )
        if self.dtype == "float32":
            return tuple(numbers)
        return tuple(float(min(max(round(x), 0), LARGEST[self.dtype])) for x in numbers)

    def check(self) -> None:
        """Check the values, so that a spec that a card holds can be trusted.

        Raises:
            CardError: A value is impossible.
        """
        for side in (self.height, self.width):
            if self.stride < 1 or not 1 <= side <= MAX_SIDE or side % self.stride:
                msg = (
                    f"the card's input is {self.height}x{self.width}; each side must be a multiple"
                    f" of {self.stride} up to {MAX_SIDE}"
                )
                raise CardError(msg)
        self._check_channels()
        count = len(self.channels)
        meant = (
            "three numbers, for red, green and blue"
            if self.is_color
            else f"{count} numbers, one for each channel"
        )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != count or not all(map(isfinite, values)):
                msg = f"the card's {name} is {values}; it must be {meant}"
                raise CardError(msg)
        if min(self.std) <= 0:
            msg = f"the card's std is {self.std}; each value must be more than 0"
            raise CardError(msg)
        self._check_intensity()

    def _check_channels(self) -> None:
        names = self.channels
        if not 1 <= len(names) <= MAX_CHANNELS or len(set(names)) < len(names):
            msg = (
                f"the card has the channels {', '.join(names)[:200] or 'none'}; they must be 1 to"
                f" {MAX_CHANNELS} different ones"
            )
            raise CardError(msg)
        for name in names:
            # Control characters of an untrusted file must not reach a terminal.
            if not name or not name.isprintable():
                msg = f"the card holds the channel {name[:40]!r}; it must be printable text"
                raise CardError(msg)
        if self.bands and (len(self.bands) != len(names) or min(self.bands) < 1):
            msg = (
                f"the card has the bands {self.bands} for {len(names)} channels; it must have one"
                " for each, counted from 1"
            )
            raise CardError(msg)
        if self.bgr and not self.is_color:
            msg = "the card's network takes BGR, and its channels are no colors; it cannot be both"
            raise CardError(msg)
        if self.resample.startswith("pillow") and (self.dtype != "uint8" or not self.is_color):
            msg = (
                f"the card resizes by {self.resample}, which takes color images of uint8 only; it"
                " must be halving or linear"
            )
            raise CardError(msg)

    def _check_intensity(self) -> None:
        rule, low, high = self.intensity.rule, self.intensity.low, self.intensity.high
        count = 0 if rule == "unit" else len(self.channels)
        if (
            len(low) != count
            or len(high) != count
            or not all(map(isfinite, (*low, *high)))
            or any(one >= other for one, other in zip(low, high, strict=True))
        ):
            msg = (
                f"the card's intensity is {rule} from {low} to {high}; it must be {count} smaller"
                f" and {count} larger numbers"
            )
            raise CardError(msg)


BAND_DEFAULTS: Mapping[str, Any] = {
    "channels": COLORS,
    "dtype": "uint8",
    "bands": (),
    "intensity": Intensity(),
}
"""Fields of an input that schema 1 does not know, with what it does."""
