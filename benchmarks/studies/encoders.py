"""What an encoder's settings cost: processor time, bytes and similarity, on overlay videos.

`python -m segdeploy.benchmarks.studies.encoders --video dashcam.mp4`.

The clips are what `segdeploy run` encodes, overlays: a drawn street, a scrolled page on a screen,
and a video with the masks of the bundled model. Every clip is encoded in one thread by every
setting, in turn; the least processor time of the rounds counts. A setting lies on the frontier
where no other is both cheaper and smaller at equal similarity.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import exp, log, log10
from pathlib import Path
from time import process_time

import av
import click
import cv2
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from segdeploy import assets
from segdeploy.arrays import Image
from segdeploy.backends.loading import load_backend
from segdeploy.cli.console import echo, note
from segdeploy.cli.main import invoke
from segdeploy.datasets.formats.camvid import CLASSES
from segdeploy.datasets.synthetic.dataset import drive
from segdeploy.imaging.overlay import Painter
from segdeploy.inference.predictor import Predictor
from segdeploy.system.machine import describe_machine
from segdeploy.video.codecs import CODECS, Encoding
from segdeploy.video.color import to_bt709
from segdeploy.video.reader import VideoSource

from ..measure.rounds import in_turns

HEIGHT, WIDTH, RATE = 1080, 1920, Fraction(25)
"""Size in pixels and rate of the drawn clips."""

CRFS = (-3, 0, 3)
"""Steps from the default quality at which each setting is encoded."""

SAMPLE = 6
"""Every so many frames the similarity is measured."""

WINDOW = 8
"""Side of the windows of the similarity, in pixels, as FFmpeg's `ssim` has them."""

REFERENCE = "superfast"

FAST = {"preset": "ultrafast", "coder": "cabac"}
DEBLOCKED = {**FAST, "x264-params": "no-deblock=0"}
FORWARD = {"preset": "superfast", "bf": "0", "weightp": "none"}
SETTINGS: Mapping[str, Mapping[str, str]] = {
    **{name: {"preset": name} for name in ("ultrafast", REFERENCE, "veryfast")},
    "ultrafast, cabac": FAST,
    "ultrafast, cabac, deblock": DEBLOCKED,
    "ultrafast, cabac, deblock, aq": {**DEBLOCKED, "aq-mode": "1"},
    "ultrafast, cabac, deblock, subme 1": {**DEBLOCKED, "subq": "1"},
    "superfast, no B-frames": FORWARD,
    "superfast, no B-frames, no 8x8dct": {**FORWARD, "8x8dct": "0"},
    # Without subpixel motion as well.
    "default": {key: value for key, value in Encoding().options(1).items() if key != "crf"},
}
"""Options of libx264 by the name of a setting."""

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A clip, encoded once.

    Attributes:
        milliseconds: Processor time a frame.
        kilobytes: Size a frame.
        similarity: Structural similarity of the luma to the clip's, in decibels: 10 for 0.9, 20
            for 0.99.
    """

    milliseconds: float
    kilobytes: float
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a setting costs.

    Attributes:
        milliseconds: Processor time a frame at the default quality.
        size: Bytes over those of the reference, at the default quality.
        loss: Decibels of similarity that the reference has more, at the default quality.
        equal_size: Bytes over those of the reference at its similarity.
    """

    milliseconds: float
    size: float
    loss: float
    equal_size: float


def street_overlays(count: int) -> Iterator[Image]:
    """Draw a street with its labels."""
    painter = Painter(CLASSES)
    street = drive(3, height=HEIGHT, width=WIDTH, rate=RATE)
    return (painter.paint(sample.image, sample.mask) for sample in islice(street, count))


def screen_overlays(count: int) -> Iterator[Image]:
    """Draw a desktop on which a page of text scrolls and a window moves, with labels on both."""
    page = _text_page(HEIGHT + 12 * count, WIDTH // 2)
    painter, mask = Painter(CLASSES), np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[100:1000, 300:1260], mask[200:500, 1400:1700] = 1, 2
    for index in range(count):
        image = np.full((HEIGHT, WIDTH, 3), (90, 60, 40), np.uint8)
        image[100:1000, 300:1260] = page[12 * index :][:900]
        image[200:500, 1400 + index :][:, :300] = page[500:800, :300]
        yield painter.paint(image, mask)


def _text_page(height: int, width: int) -> Image:
    random, line = np.random.default_rng(0), 24
    page = PillowImage.new("RGB", (width, height), (250, 250, 248))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    for top in range(0, height, line):
        letters = random.choice(list("abcdefghijklmnopqrstuvwxyz      "), 90)
        draw.text((8, top), "".join(letters), fill=(40, 40, 60), font=font)
    return np.asarray(page, dtype=np.uint8)


def video_overlays(video: Path, count: int) -> Iterator[Image]:
    """Segment the first frames of a video by a bundled model and draw their masks."""
    predictor = Predictor(load_backend(assets.locate("street-int8"), device="cpu"))
    painter = Painter(predictor.card.classes)
    with VideoSource(video) as source:
        for frame in islice(source, count):
            yield painter.paint(frame.image, predictor.mask(frame.image))


def to_frames(images: Iterator[Image]) -> list[av.VideoFrame]:
    """Return images as an encoder gets them, 4:2:0."""
    reformatter, frames = VideoReformatter(), []
    for index, image in enumerate(images):
        even = image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2]
        whole = np.ascontiguousarray(even, dtype=np.uint8)
        frame = to_bt709(av.VideoFrame.from_numpy_buffer(whole, format="bgr24"), reformatter)
        frame.pts, frame.time_base = index, 1 / RATE
        frames.append(frame)
    return frames


def encode(frames: Sequence[av.VideoFrame], options: Mapping[str, str], *, crf: int) -> Encoded:
    """Encode a clip in one thread, and compare it with what a player gets."""
    encoder = av.CodecContext.create(CODECS["h264"].encoder, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.thread_count = 1 / RATE, RATE, 1
    encoder.options = {**options, "crf": str(crf)}
    packets: list[Packet[VideoStream]] = []
    start = process_time()
    for frame in (*frames, None):
        packets += encoder.encode(frame)
    seconds = process_time() - start
    return Encoded(
        milliseconds=1000 * seconds / len(frames),
        kilobytes=sum(packet.size for packet in packets) / len(frames) / 1000,
        similarity=_similarity(frames, packets, encoder.extradata),
    )


def _similarity(
    frames: Sequence[av.VideoFrame],
    packets: "Sequence[Packet[VideoStream]]",
    extradata: bytes | None,
) -> float:
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = extradata
    decoded = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    pairs = zip(frames[::SAMPLE], decoded[::SAMPLE], strict=True)
    return -10 * log10(1 - float(np.mean([ssim(_luma(one), _luma(two)) for one, two in pairs])))


def _luma(frame: av.VideoFrame) -> Plane:
    return np.asarray(frame.to_ndarray()[: frame.height], dtype=np.float32)


def ssim(one: Plane, two: Plane) -> float:
    """Return the mean structural similarity (Wang et al. 2004) of two planes in [0, 255]."""

    def mean(plane: Plane) -> Plane:
        return np.asarray(cv2.blur(plane, (WINDOW, WINDOW)), dtype=np.float32)

    first, second = mean(one), mean(two)
    variances = mean(one * one) - first**2 + mean(two * two) - second**2
    covariance = mean(one * two) - first * second
    constants = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = (2 * first * second + constants[0]) * (2 * covariance + constants[1])
    values /= (first**2 + second**2 + constants[0]) * (variances + constants[1])
    return float(values.mean())


def compare(results: Mapping[str, Sequence[Encoded]]) -> Mapping[str, Cost]:
    """Return the cost of each setting.

    Args:
        results: Each setting's clips at the qualities of `CRFS`, with the reference among them.
    """
    middle = CRFS.index(0)
    reference = results[REFERENCE][middle]
    return {
        name: Cost(
            milliseconds=found[middle].milliseconds,
            size=found[middle].kilobytes / reference.kilobytes,
            loss=reference.similarity - found[middle].similarity,
            equal_size=_size_at(reference.similarity, found) / reference.kilobytes,
        )
        for name, found in results.items()
    }


def _size_at(similarity: float, found: Sequence[Encoded]) -> float:
    """Return the size at a similarity, of which its logarithm is about a linear function."""
    slope, offset = np.polyfit(
        [one.similarity for one in found], [log(one.kilobytes) for one in found], 1
    )
    return exp(float(slope) * similarity + float(offset))


def frontier(costs: Mapping[str, Cost]) -> list[str]:
    """Return the settings than which no other is both cheaper and smaller, the cheapest first."""
    chosen: list[str] = []
    for name in sorted(costs, key=lambda name: costs[name].milliseconds):
        if all(costs[name].equal_size < costs[other].equal_size for other in chosen):
            chosen.append(name)
    return chosen


def knee(costs: Mapping[str, Cost]) -> str:
    """Return the setting of the frontier that lies farthest below the line between its ends.

    Times and sizes are compared by their logarithms, so that neither unit counts (Satopaa et al.,
    Finding a "Kneedle" in a Haystack, 2011).
    """
    chosen = frontier(costs)
    first, last = costs[chosen[0]], costs[chosen[-1]]
    times = [log(first.milliseconds), log(last.milliseconds)]
    sizes = [log(first.equal_size), log(last.equal_size)]

    def depth(name: str) -> float:
        line = float(np.interp(log(costs[name].milliseconds), times, sizes))
        return line - log(costs[name].equal_size)

    return max(chosen, key=depth)


def mean_costs(clips: Sequence[Mapping[str, Cost]]) -> Mapping[str, Cost]:
    """Return the geometric means of times and sizes over several clips, and the mean losses."""
    return {
        name: Cost(
            milliseconds=_mean([clip[name].milliseconds for clip in clips]),
            size=_mean([clip[name].size for clip in clips]),
            loss=float(np.mean([clip[name].loss for clip in clips])),
            equal_size=_mean([clip[name].equal_size for clip in clips]),
        )
        for name in clips[0]
    }


def _mean(values: Sequence[float]) -> float:
    return exp(float(np.mean(np.log(values))))


def to_table(costs: Mapping[str, Cost]) -> str:
    """Return the costs as a table of Markdown, the cheapest first."""
    chosen, best = frontier(costs), knee(costs)
    lines = [
        "| setting | ms a frame | bytes | SSIM | bytes at equal SSIM | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, cost in sorted(costs.items(), key=lambda item: item[1].milliseconds):
        place = "knee" if name == best else "frontier" if name in chosen else ""
        lines.append(
            f"| {name} | {cost.milliseconds:.1f} | {cost.size:.2f} | {-cost.loss:+.1f} dB |"
            f" {cost.equal_size:.2f} | {place} |"
        )
    return "\n".join(lines)


def measure(
    frames: Sequence[av.VideoFrame], settings: Mapping[str, Mapping[str, str]], *, rounds: int
) -> Mapping[str, Sequence[Encoded]]:
    """Encode a clip by all settings in turn, and return each at the qualities of `CRFS`."""
    middle = CODECS["h264"].crf
    found: dict[str, list[Encoded]] = {name: [] for name in settings}
    for name in settings:
        found[name] = [encode(frames, settings[name], crf=middle + step) for step in CRFS]
    for name in in_turns(list(settings), rounds - 1):
        again = encode(frames, settings[name], crf=middle)
        index = CRFS.index(0)
        found[name][index] = min(found[name][index], again, key=lambda one: one.milliseconds)
    return found


@click.command()
@click.option(
    "--video",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A clip to encode beside the drawn ones.",
)
@click.option(
    "--frames", default=48, show_default=True, type=click.IntRange(min=SAMPLE), help="Of each clip."
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Measurements of each setting.",
)
def main(*, video: Path | None, frames: int, rounds: int) -> None:
    """Print what settings of libx264 cost, relative to its preset superfast."""
    cv2.setNumThreads(1)
    clips: dict[str, Callable[[], Iterator[Image]]] = {
        "drawn street, 1920x1080": lambda: street_overlays(frames),
        "screen, 1920x1080": lambda: screen_overlays(frames),
    }
    if video is not None:
        clips[video.name] = lambda: video_overlays(video, frames)
    echo(f"{describe_machine().processor}, one thread, processor time")
    costs = []
    for name, overlays in clips.items():
        note(f"encoding {name}")
        costs.append(compare(measure(to_frames(overlays()), SETTINGS, rounds=rounds)))
        echo(f"\n{name}\n\n{to_table(costs[-1])}")
    echo(f"\nall clips (geometric means)\n\n{to_table(mean_costs(costs))}")


if __name__ == "__main__":
    invoke(main, name="python -m segdeploy.benchmarks.studies.encoders")
