"""From a decoded frame to a picture: eight bits of blue, green and red, as an ordinary screen shows them."""

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import Colorspace, VideoReformatter

from segdeploy.pictures import Picture
from segdeploy.video.tones import LIGHT, write_table

UNSPECIFIED = 2
HIGH = 720
"""Rows from which on a video that does not tell its colors has those of BT.709, as players take it."""

WIDE = 9
"""Number of the primaries of BT.2020 (ITU-T H.273, table 2)."""


class Developer:
    """Makes pictures of frames, all of one size, and remembers what it had to change."""

    def __init__(self, first: av.VideoFrame) -> None:
        """Look at the first frame.

        Args:
            first: The size of all pictures is its own.
        """
        self._width, self._height = first.width, first.height
        self._reformatter = VideoReformatter()
        self._tones: tuple[tuple[object, ...], Graph] | None = None
        self.resized = 0
        depth = max(component.bits for component in first.format.components)
        kinds = [LIGHT[first.color_trc][0]] if _is_wide(first) else []
        kinds += [f"{depth} bits a channel"] if depth > 8 else []
        self.kind = " and ".join(kinds)
        """What the first frame has that a picture of 8 bits has not, for example "high dynamic range (PQ) and 10 bits a channel"; or ""."""

    def develop(self, frame: av.VideoFrame) -> Picture:
        """Give a frame as (height, width, 3) uint8, blue-green-red, as it is stored: turning it upright is another's work."""
        same = (frame.width, frame.height) == (self._width, self._height)
        self.resized += not same
        if _is_wide(frame):
            frame = self._toned(frame)
        # A file that says nothing is taken as players take it; FFmpeg would take the colors of old television.
        unknown = frame.colorspace == UNSPECIFIED and frame.height >= HIGH and not frame.format.is_rgb
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
        """Give a frame of a wide gamut as blue-green-red of BT.709."""
        key = (frame.width, frame.height, frame.format.name, frame.color_trc, frame.colorspace, frame.color_range)
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
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 25)),
            graph.add("format", "gbrp16"),
            graph.add("lut3d", file=str(table), interp="tetrahedral"),
            graph.add("format", "bgr24"),
            graph.add("buffersink"),
        )
        graph.link_nodes(*steps)
        graph.configure()
    return graph
