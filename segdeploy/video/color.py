"""Decoded frame -> BGR; HDR tone mapping."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.video.reformatter import Colorspace, VideoReformatter

from segdeploy.arrays import Image

Colors = npt.NDArray[np.float64]
"""(..., 3), red-green-blue."""

NODES = 33
"""Places along each side of the table; between them it is interpolated."""

WHITE = 203.0
"""Candelas a square metre of a white sheet in an image of high dynamic range (ITU-R BT.2408, table
1), an ordinary one's brightest."""

PEAK = 1000.0
"""Candelas a square metre of the brightest that such images are usually graded for."""

BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
"""Linear light of the wide primaries as that of the ordinary ones (ITU-R BT.2087, section 2)."""

BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])

# The perceptual quantizer's constants (SMPTE ST 2084; ITU-R BT.2100, table 4).
M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def pq_to_light(signal: Colors) -> Colors:
    """Return the candelas a square metre that a PQ signal in [0, 1] stands for."""
    power = signal ** (1 / M2)
    return np.asarray(
        10000 * (np.maximum(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1), dtype=np.float64
    )


def light_to_pq(light: Colors) -> Colors:
    """Return the PQ signal in [0, 1] of candelas a square metre."""
    power = (light / 10000) ** M1
    return np.asarray(((C1 + C2 * power) / (1 + C3 * power)) ** M2, dtype=np.float64)


def hlg_to_light(signal: Colors) -> Colors:
    """Return the candelas a square metre that an HLG signal in [0, 1] stands for on a screen of 1000 (ITU-R BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ BT2020_LUMINANCE
    return np.asarray(PEAK * luminance[..., None] ** 0.2 * scene, dtype=np.float64)


def screen_to_light(signal: Colors) -> Colors:
    """Return the candelas a square metre of an ordinary signal in [0, 1] (ITU-R BT.1886)."""
    return np.asarray(WHITE * signal**2.4, dtype=np.float64)


LIGHT: Mapping[int, tuple[str, Callable[[Colors], Colors]]] = {
    14: ("a wide gamut", screen_to_light),
    15: ("a wide gamut", screen_to_light),
    16: ("high dynamic range (PQ)", pq_to_light),
    18: ("high dynamic range (HLG)", hlg_to_light),
}
"""By the transfer characteristics' number (ITU-T H.273, table 3): what it is called, and how a
signal becomes light."""


def roll_off(light: Colors) -> Colors:
    """Press light of up to `PEAK` into that of up to `WHITE`.

    Dark tones stay, bright ones bend (ITU-R BT.2390-10, section 5.4.1).
    """
    peak = float(light_to_pq(np.float64(PEAK)))  # type: ignore[arg-type]
    signal = np.minimum(light_to_pq(light) / peak, 1)
    most = float(light_to_pq(np.float64(WHITE))) / peak  # type: ignore[arg-type]
    knee = 1.5 * most - 0.5
    t = np.clip((signal - knee) / (1 - knee), 0, 1)
    bent = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * most
    )
    return pq_to_light(np.where(signal < knee, signal, bent) * peak)


def to_screen(signal: Colors, transfer: int) -> Colors:
    """Turn a signal of the wide primaries into one of BT.709, both in [0, 1].

    The brightest of the three channels is pressed, and the others with it, so that hues stay; what
    is outside the gamut is cut off.

    Args:
        signal: (..., 3), red-green-blue.
        transfer: One of `LIGHT`.
    """
    light = LIGHT[transfer][1](signal)
    brightest = light.max(axis=-1, keepdims=True)
    pressed = roll_off(brightest) if LIGHT[transfer][1] is not screen_to_light else brightest
    narrow = light * pressed / np.maximum(brightest, 1e-9) @ BT2020_TO_BT709.T
    return np.asarray(np.clip(narrow / WHITE, 0, 1) ** (1 / 2.4), dtype=np.float64)


def write_table(path: Path, transfer: int) -> None:
    """Write the table as a .cube file, which FFmpeg's lut3d reads: red changes fastest."""
    side = np.linspace(0, 1, NODES)
    blue, green, red = np.meshgrid(side, side, side, indexing="ij")
    rows = to_screen(np.stack([red, green, blue], axis=-1), transfer).reshape(-1, 3)
    path.write_text(
        f"LUT_3D_SIZE {NODES}\n" + "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in rows) + "\n"
    )


UNSPECIFIED = 2
HIGH = 720
"""Rows from which on a video that does not tell its colors has those of BT.709, as players take
it."""

WIDE = 9
"""Number of the primaries of BT.2020 (ITU-T H.273, table 2)."""


class FrameConverter:
    """Makes images of frames, all of one size, and remembers what it had to change."""

    def __init__(self, first: av.VideoFrame) -> None:
        """Look at the first frame.

        Args:
            first: The size of all images is its own.
        """
        self._width, self._height = first.width, first.height
        self._reformatter = VideoReformatter()
        self._tones: tuple[tuple[object, ...], Graph] | None = None
        self.resized = 0
        depth = max(component.bits for component in first.format.components)
        kinds = [LIGHT[first.color_trc][0]] if _is_wide(first) else []
        kinds += [f"{depth} bits a channel"] if depth > 8 else []
        self.kind = " and ".join(kinds)
        """What the first frame has that an image of 8 bits has not, for example "high dynamic
        range (PQ) and 10 bits a channel"; or ""."""

    def develop(self, frame: av.VideoFrame) -> Image:
        """Return a frame as (height, width, 3) uint8, blue-green-red, as it is stored.

        Turning it upright is another's work.
        """
        same = (frame.width, frame.height) == (self._width, self._height)
        self.resized += not same
        if _is_wide(frame):
            frame = self._toned(frame)
        # A file that says nothing is taken as players take it; FFmpeg would take the colors of old
        # television.
        unknown = (
            frame.colorspace == UNSPECIFIED and frame.height >= HIGH and not frame.format.is_rgb
        )
        image = self._reformatter.reformat(
            frame,
            format="bgr24",
            width=self._width,
            height=self._height,
            src_colorspace=Colorspace.ITU709 if unknown else None,
            threads=1,
        )
        return np.asarray(image.to_ndarray(), dtype=np.uint8)

    def _toned(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return a frame of a wide gamut as blue-green-red of BT.709."""
        key = (
            frame.width,
            frame.height,
            frame.format.name,
            frame.color_trc,
            frame.colorspace,
            frame.color_range,
        )
        if self._tones is None or self._tones[0] != key:
            self._tones = key, _tone_graph(frame)
        graph = self._tones[1]
        graph.push(frame)
        toned = graph.pull()
        assert isinstance(toned, av.VideoFrame)
        return toned


def _is_wide(frame: av.VideoFrame) -> bool:
    return frame.color_trc in LIGHT and frame.color_primaries == WIDE


def _tone_graph(frame: av.VideoFrame) -> Graph:
    """Build a filter that takes frames like this one through the table of `tones`."""
    graph = Graph()
    with TemporaryDirectory(prefix="segdeploy-") as folder:
        table = Path(folder, "tones.cube")
        write_table(table, frame.color_trc)
        steps = (
            graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=frame.time_base or Fraction(1, 25),
            ),
            graph.add("format", "gbrp16"),
            graph.add("lut3d", file=str(table), interp="tetrahedral"),
            graph.add("format", "bgr24"),
            graph.add("buffersink"),
        )
        graph.link_nodes(*steps)
        graph.configure()
    return graph
