"""Light and weather, and how they change the colors of a street."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Color = tuple[float, float, float]
"""Blue, green, red in 0 ... 255."""


def brightened(color: Color, share: float) -> Color:
    """Return a color multiplied by a factor, at most 255."""
    return min(color[0] * share, 255.0), min(color[1] * share, 255.0), min(color[2] * share, 255.0)


@dataclass(frozen=True, kw_only=True)
class Light:
    """The light of one scene.

    Attributes:
        name: Its name.
        zenith: Color of the sky overhead.
        horizon: Color of the sky at the horizon.
        cloud: Color of the clouds.
        cover: Share of the sky that clouds cover, in [0, 1].
        gain: Factors of the blue, green and red of a surface.
        sun: How much darker a shadow is than its surroundings, in [0, 1].
        haze: Distance in meters at which haze has replaced 63% of a color.
        night: Brightness of windows and lamps, in [0, 1].
        wet: Reflectance of the road, in [0, 1].
        rain: Amount of rain, in [0, 1].
        azimuth: Direction of the sun, in radians to the right of straight ahead.
        elevation: Height of the sun over the horizon, in radians.
        glare: Amount of glare of the sun in the camera, in [0, 1].
    """

    name: str
    zenith: Color
    horizon: Color
    cloud: Color = (250, 248, 246)
    cover: float = 0.4
    gain: Color = (1.0, 1.0, 1.0)
    sun: float = 0.0
    haze: float = 900.0
    night: float = 0.0
    wet: float = 0.0
    rain: float = 0.0
    azimuth: float = 0.6
    elevation: float = 0.7
    glare: float = 0.0

    def tone(self, distance: float, *, tint: Color = (1.0, 1.0, 1.0)) -> npt.NDArray[np.float32]:
        """Return the matrix from a surface's color to the color that the camera sees.

        Args:
            distance: Distance from the camera, in meters.
            tint: Factors of the surface's own blue, green and red.

        Returns:
            (3, 4) float32; it is applied to blue, green, red, and the coverage (255 for all).
        """
        clear = math.exp(-max(distance, 0.0) / self.haze)
        blue, green, red = (clear * gain * own for gain, own in zip(self.gain, tint, strict=True))
        haze = [(1 - clear) * value / 255 for value in self.horizon]
        return np.array(
            [[blue, 0, 0, haze[0]], [0, green, 0, haze[1]], [0, 0, red, haze[2]]], np.float32
        )

    def seen(self, color: Color, *, distance: float = 0.0) -> Color:
        """Return a color as the camera sees it at a distance in meters."""
        blue, green, red = (self.tone(distance) @ np.array([*color, 255.0])).clip(0, 255)
        return float(blue), float(green), float(red)


LIGHTS: tuple[tuple[float, Light], ...] = (
    (4, Light(
        name="sunny", zenith=(206, 138, 66), horizon=(238, 214, 186), cover=0.35,
        gain=(0.98, 1.04, 1.08), sun=0.5,
    )),
    (3, Light(
        name="overcast", zenith=(190, 182, 176), horizon=(226, 222, 218), cloud=(206, 200, 196),
        cover=0.9, gain=(0.95, 0.93, 0.91),
    )),
    (2, Light(
        name="evening", zenith=(150, 104, 88), horizon=(120, 176, 246), cloud=(150, 160, 236),
        cover=0.45, gain=(0.72, 0.86, 1.04), sun=0.4, haze=420, night=0.25, azimuth=-0.2,
        elevation=0.13, glare=0.35,
    )),
    (2, Light(
        name="night", zenith=(44, 26, 18), horizon=(84, 60, 52), cloud=(70, 56, 52), cover=0.3,
        gain=(0.5, 0.45, 0.44), haze=600, night=1.0, wet=0.15,
    )),
    (2, Light(
        name="rain", zenith=(150, 142, 136), horizon=(190, 186, 182), cloud=(160, 154, 150),
        cover=1.0, gain=(0.78, 0.75, 0.72), haze=230, night=0.3, wet=0.4, rain=1.0,
    )),
    (1, Light(
        name="fog", zenith=(206, 204, 202), horizon=(214, 212, 210), cloud=(214, 212, 210),
        cover=0.6, gain=(0.92, 0.9, 0.88), haze=75,
    )),
    (1, Light(
        name="glare", zenith=(226, 170, 104), horizon=(232, 236, 246), cover=0.25,
        gain=(0.92, 0.98, 1.06), sun=0.5, haze=320, azimuth=0.1, elevation=0.22, glare=1.0,
    )),
)  # fmt: skip
"""Each kind of light, with its relative frequency."""


WEATHERS = tuple(light.name for _, light in LIGHTS)
"""Names of the kinds of light."""


def draw_light(random: np.random.Generator, weather: str | None = None) -> Light:
    """Return a random light, or the one of a name in `WEATHERS`, with varied sun and clouds."""
    shares = np.array([share for share, _ in LIGHTS])
    # Drawn in any case, so that the random numbers that follow do not depend on the weather.
    drawn = random.choice(len(LIGHTS), p=shares / shares.sum())
    light = LIGHTS[drawn if weather is None else WEATHERS.index(weather)][1]
    brightness = random.uniform(0.92, 1.06)
    blue, green, red = light.gain
    return replace(
        light,
        gain=(blue * brightness, green * brightness, red * brightness),
        cover=float(np.clip(light.cover + random.uniform(-0.15, 0.15), 0.05, 1)),
        azimuth=(
            light.azimuth + random.uniform(-0.15, 0.15)
            if light.glare
            else float(random.uniform(-2.6, 2.6))
        ),
    )
