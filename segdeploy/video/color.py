"""Convert decoded frames to BGR images, with tone mapping of high dynamic range, and back."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from segdeploy.arrays import Image
from segdeploy.system.files import temporary_folder

Colors = npt.NDArray[np.float64]
"""(..., 3), red-green-blue."""

BT709 = 1
LIMITED = 1
"""Matrix and range by ITU-T H.273, written into files, so that players decode the right colors."""

NODES = 33
"""Entries along each side of the lookup table; between them it is interpolated."""

WHITE = 203.0
"""Candelas per square meter of diffuse white in HDR (ITU-R BT.2408, table 1); the brightest of
SDR."""

PEAK = 1000.0
"""Candelas per square meter of the peak that HDR is usually graded for."""

BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
"""Linear light of BT.2020's primaries to that of BT.709's (ITU-R BT.2087, section 2)."""

BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])

# The perceptual quantizer's constants (SMPTE ST 2084; ITU-R BT.2100, table 4).
M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def pq_to_light(signal: Colors) -> Colors:
    """Return the candelas per square meter of a PQ signal in [0, 1]."""
    power = signal ** (1 / M2)
    return np.asarray(
        10000 * (np.maximum(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1), dtype=np.float64
    )


def light_to_pq(light: Colors) -> Colors:
    """Return the PQ signal in [0, 1] of candelas per square meter."""
    power = (light / 10000) ** M1
    return np.asarray(((C1 + C2 * power) / (1 + C3 * power)) ** M2, dtype=np.float64)


def hlg_to_light(signal: Colors) -> Colors:
    """Return the candelas per square meter of an HLG signal in [0, 1].

    The display has a peak of 1000 (ITU-R BT.2100, table 5).
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ BT2020_LUMINANCE
    return np.asarray(PEAK * luminance[..., None] ** 0.2 * scene, dtype=np.float64)


def sdr_to_light(signal: Colors) -> Colors:
    """Return the candelas per square meter of an SDR signal in [0, 1] (ITU-R BT.1886)."""
    return np.asarray(WHITE * signal**2.4, dtype=np.float64)


LIGHT: Mapping[int, tuple[str, Callable[[Colors], Colors]]] = {
    14: ("a wide gamut", sdr_to_light),
    15: ("a wide gamut", sdr_to_light),
    16: ("high dynamic range (PQ)", pq_to_light),
    18: ("high dynamic range (HLG)", hlg_to_light),
}
"""Name of each transfer function and the function itself, by its number (ITU-T H.273, table 3)."""


def roll_off(light: Colors) -> Colors:
    """Compress light of up to `PEAK` to at most `WHITE`.

    Dark tones stay, bright ones are rolled off (ITU-R BT.2390-10, section 5.4.1).
    """
    peak = float(light_to_pq(np.float64(PEAK)))  # type: ignore[arg-type]
    signal = np.minimum(light_to_pq(light) / peak, 1)
    maximum = float(light_to_pq(np.float64(WHITE))) / peak  # type: ignore[arg-type]
    knee = 1.5 * maximum - 0.5
    t = np.clip((signal - knee) / (1 - knee), 0, 1)
    compressed = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * maximum
    )
    return pq_to_light(np.where(signal < knee, signal, compressed) * peak)


def to_sdr(signal: Colors, transfer: int) -> Colors:
    """Convert a signal of BT.2020's primaries to BT.709, both in [0, 1].

    The brightest of the three channels is compressed, and the others in proportion, so that hues
    stay; colors outside the gamut are clipped.

    Args:
        signal: (..., 3), red-green-blue.
        transfer: Number of the transfer function, one of `LIGHT`.
    """
    light = LIGHT[transfer][1](signal)
    brightest = light.max(axis=-1, keepdims=True)
    compressed = roll_off(brightest) if LIGHT[transfer][1] is not sdr_to_light else brightest
    narrow = light * compressed / np.maximum(brightest, 1e-9) @ BT2020_TO_BT709.T
    return np.asarray(np.clip(narrow / WHITE, 0, 1) ** (1 / 2.4), dtype=np.float64)


def write_table(path: Path, transfer: int) -> None:
    """Write the lookup table as a .cube file for FFmpeg's lut3d: red changes fastest."""
    side = np.linspace(0, 1, NODES)
    blue, green, red = np.meshgrid(side, side, side, indexing="ij")
    rows = to_sdr(np.stack([red, green, blue], axis=-1), transfer).reshape(-1, 3)
    path.write_text(
        f"LUT_3D_SIZE {NODES}\n" + "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in rows) + "\n",
        encoding="ascii",
    )


UNSPECIFIED = 2
HIGH = 720
"""Rows from which on a video without a color space is taken as BT.709, as players do."""

WIDE = 9
"""Number of the primaries of BT.2020 (ITU-T H.273, table 2)."""


class FrameConverter:
    """Converts frames to images of one size, and records what it had to change.

    Attributes:
        resized: How many frames had another size than the first.
        kind: What the first frame has beyond 8 bits and BT.709, for example "high dynamic range
            (PQ) and 10 bits a channel"; or "".
    """

    def __init__(self, first: av.VideoFrame) -> None:
        """Prepare for frames like the first.

        Args:
            first: All images get its size.
        """
        self._width, self._height = first.width, first.height
        self._reformatter = VideoReformatter()
        self._graph: tuple[tuple[object, ...], Graph] | None = None
        self.resized = 0
        depth = max(component.bits for component in first.format.components)
        kinds = [LIGHT[first.color_trc][0]] if _is_wide(first) else []
        kinds += [f"{depth} bits a channel"] if depth > 8 else []
        self.kind = " and ".join(kinds)

    def convert(self, frame: av.VideoFrame) -> Image:
        """Return a frame as (height, width, 3) uint8, blue-green-red, in the stored orientation."""
        is_same = (frame.width, frame.height) == (self._width, self._height)
        self.resized += not is_same
        if _is_wide(frame):
            frame = self._tone_mapped(frame)
        # Without a color space, players assume BT.709; FFmpeg would assume that of analog
        # television.
        is_unknown = (
            frame.colorspace == UNSPECIFIED and frame.height >= HIGH and not frame.format.is_rgb
        )
        image = self._reformatter.reformat(
            frame,
            format="bgr24",
            width=self._width,
            height=self._height,
            src_colorspace=Colorspace.ITU709 if is_unknown else None,
            threads=1,
        )
        return np.asarray(image.to_ndarray(), dtype=np.uint8)

    def _tone_mapped(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return a frame of BT.2020 as blue-green-red of BT.709."""
        key = (
            frame.width,
            frame.height,
            frame.format.name,
            frame.color_trc,
            frame.colorspace,
            frame.color_range,
        )
        if self._graph is None or self._graph[0] != key:
            self._graph = key, _tone_graph(frame)
        graph = self._graph[1]
        graph.push(frame)
        mapped = graph.pull()
        assert isinstance(mapped, av.VideoFrame)
        return mapped


def _is_wide(frame: av.VideoFrame) -> bool:
    return frame.color_trc in LIGHT and frame.color_primaries == WIDE


def _tone_graph(frame: av.VideoFrame) -> Graph:
    """Build a filter that applies the lookup table to frames like this one."""
    graph = Graph()
    with temporary_folder() as folder:
        table = folder / "tones.cube"
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


def to_bt709(frame: av.VideoFrame, reformatter: VideoReformatter) -> av.VideoFrame:
    """Return an image as 4:2:0 video of BT.709 and limited range."""
    return reformatter.reformat(
        frame,
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        threads=1,
    )
