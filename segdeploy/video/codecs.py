"""How a video is compressed: four codecs, each with its own scale of quality and of speed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from segdeploy.errors import ConfigError

X_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)


# SVT-AV1 would write its settings to stderr; it asks the environment alone, when its first encoder
# is made.
os.environ.setdefault("SVT_LOG", "1")


@dataclass(frozen=True, kw_only=True)
class Codec:
    """What an encoder understands.

    Attributes:
        encoder: Name of FFmpeg's encoder.
        crf: Quality where none is asked for; a larger number makes a smaller file.
        worst: The largest number that it takes; 0 is the best.
        preset: How long it searches where nothing is asked for.
        presets: What it takes, the fastest first.
        preset_option: What the encoder calls it.
        tag: Four letters that name it in the file; "" for the container's choice.
        others: More options of the encoder.
        threads_option: Option that bounds its threads where it does not listen to FFmpeg's, with
            `{}` for their number; else "".
        threads_value: Value of that option.
    """

    encoder: str
    crf: int
    worst: int
    preset: str
    presets: tuple[str, ...]
    preset_option: str
    tag: str = ""
    others: Mapping[str, str]
    threads_option: str = ""
    threads_value: str = ""


CODECS: Mapping[str, Codec] = {
    "h264": Codec(
        encoder="libx264",
        crf=23,
        worst=51,
        preset="superfast",
        presets=X_PRESETS,
        preset_option="preset",
        others={},
    ),
    "hevc": Codec(
        encoder="libx265",
        crf=28,
        worst=51,
        preset="superfast",
        presets=X_PRESETS,
        preset_option="preset",
        # Apple's players take HEVC under this name only.
        tag="hvc1",
        others={},
        threads_option="x265-params",
        # Closed groups of images, as the other encoders make, can be cut and gone on with.
        threads_value="log-level=none:open-gop=0:pools={}",
    ),
    "av1": Codec(
        encoder="libsvtav1",
        crf=35,
        worst=63,
        preset="9",
        presets=tuple(map(str, range(11, -1, -1))),
        preset_option="preset",
        others={},
        threads_option="svtav1-params",
        threads_value="lp={}",
    ),
    "vp9": Codec(
        encoder="libvpx-vp9",
        crf=32,
        worst=63,
        preset="8",
        presets=tuple(map(str, range(8, -1, -1))),
        preset_option="cpu-used",
        # Without a bit rate of 0 libvpx takes crf for a bound, and only in this mode are the
        # presets above 5 any faster.
        others={"b:v": "0", "deadline": "realtime", "row-mt": "1"},
    ),
}
"""Codecs by the names that people know; all of them play in an MP4 file, H.264 everywhere."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a video is compressed.

    Attributes:
        codec: One of `CODECS`.
        crf: Quality, 0 (the best) to the codec's worst; the codec's usual one where None.
        preset: How long the encoder searches, in the codec's own words; its usual one where None.
    """

    codec: str = "h264"
    crf: int | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        """Refuse what the codec does not know.

        Raises:
            ConfigError: The codec is unknown, or the quality or the preset is not its own.
        """
        if self.codec not in CODECS:
            msg = f"there is no codec {self.codec!r}; choose from {', '.join(CODECS)}"
            raise ConfigError(msg)
        codec = CODECS[self.codec]
        if self.crf is not None and not 0 <= self.crf <= codec.worst:
            msg = (
                f"the crf is {self.crf}; that of {self.codec} is within 0 and {codec.worst},"
                f" {codec.crf} where nothing is said"
            )
            raise ConfigError(msg)
        if self.preset is not None and self.preset not in codec.presets:
            msg = (
                f"{self.codec} knows no preset {self.preset!r}; choose from"
                f" {', '.join(codec.presets)}, the fastest first"
            )
            raise ConfigError(msg)

    @property
    def its_codec(self) -> Codec:
        """What the encoder understands."""
        return CODECS[self.codec]

    def options(self, threads: int) -> dict[str, str]:
        """Return the options of FFmpeg's encoder.

        Args:
            threads: How many threads it may use; 0 lets it choose.
        """
        codec = self.its_codec
        crf = codec.crf if self.crf is None else self.crf
        bound = (
            {codec.threads_option: codec.threads_value.format(threads or os.cpu_count())}
            if codec.threads_option
            else {}
        )
        return {
            "crf": str(crf),
            codec.preset_option: self.preset or codec.preset,
            **codec.others,
            **bound,
        }
