"""Video codecs and their quality and speed settings; importing it needs no FFmpeg."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

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


# SVT-AV1 would write its settings to stderr; it reads only this variable, when its first encoder is
# created.
os.environ.setdefault("SVT_LOG", "1")


@dataclass(frozen=True, kw_only=True)
class Codec:
    """Settings of an encoder.

    Attributes:
        encoder: Name of FFmpeg's encoder.
        crf: Default quality; a larger number makes a smaller file.
        worst: Largest crf; 0 is the best quality.
        preset: Default preset.
        presets: All presets, the fastest first.
        preset_option: Name of the encoder's option for the preset.
        tag: Four letters that name the codec in the file; "" for the container's choice.
        others: Further options of the encoder.
        unnamed: Further options where no preset is named.
        difference: How these differ from the default preset, in words.
        threads_option: Option that bounds the threads of an encoder that ignores FFmpeg's; else "".
        threads_value: Value of that option, with `{}` for the number of threads.
        least_side: Pixels that each side of an image must have.
    """

    encoder: str
    crf: int
    worst: int
    preset: str
    presets: tuple[str, ...]
    preset_option: str
    tag: str = ""
    others: Mapping[str, str]
    unnamed: Mapping[str, str] = field(default_factory=dict)
    difference: str = ""
    threads_option: str = ""
    threads_value: str = ""
    least_side: int = 1

    @property
    def default_preset(self) -> str:
        """The default preset, in words."""
        return f"{self.preset} {self.difference}".rstrip()


CODECS: Mapping[str, Codec] = {
    "h264": Codec(
        encoder="libx264",
        crf=23,
        worst=51,
        preset="superfast",
        presets=X_PRESETS,
        preset_option="preset",
        others={},
        # The knee of what benchmarks/studies/encoders.py measures: 0.7 times the time, and a tenth
        # more bytes at equal similarity.
        unnamed={"bf": "0", "weightp": "none", "8x8dct": "0", "subq": "0"},
        difference="without B-frames",
    ),
    "hevc": Codec(
        encoder="libx265",
        crf=28,
        worst=51,
        preset="superfast",
        presets=X_PRESETS,
        preset_option="preset",
        # Apple's players play HEVC with this tag only.
        tag="hvc1",
        others={},
        threads_option="x265-params",
        # Closed groups of pictures, as the other encoders make, can be cut to resume.
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
        # With fewer rows and many columns it never returns from the first image.
        least_side=32,
    ),
    "vp9": Codec(
        encoder="libvpx-vp9",
        crf=32,
        worst=63,
        preset="8",
        presets=tuple(map(str, range(8, -1, -1))),
        preset_option="cpu-used",
        # Without a bit rate of 0, crf is only a bound to libvpx; the presets above 5 are faster in
        # this mode only.
        others={"b:v": "0", "deadline": "realtime", "row-mt": "1"},
    ),
}
"""Codecs by their common names; all of them play in an MP4 file, H.264 everywhere."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a video is encoded.

    Attributes:
        codec: One of `CODECS`.
        crf: Quality, 0 (the best) to the codec's worst; the codec's default where None.
        preset: Speed of the encoder, one of the codec's presets; where None, its default, which is
            a little faster than the preset that it comes from.
    """

    codec: str = "h264"
    crf: int | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: The codec is unknown, or the quality or the preset is not one of its.
        """
        if self.codec not in CODECS:
            msg = f"there is no codec {self.codec!r}; choose from {', '.join(CODECS)}"
            raise ConfigError(msg)
        codec = CODECS[self.codec]
        if self.crf is not None and not 0 <= self.crf <= codec.worst:
            msg = (
                f"the crf is {self.crf}; that of {self.codec} must be within 0 and {codec.worst}"
                f" (default {codec.crf})"
            )
            raise ConfigError(msg)
        if self.preset is not None and self.preset not in codec.presets:
            msg = (
                f"{self.codec} has no preset {self.preset!r}; choose from"
                f" {', '.join(codec.presets)}, the fastest first"
            )
            raise ConfigError(msg)

    @property
    def codec_spec(self) -> Codec:
        """Settings of the codec's encoder."""
        return CODECS[self.codec]

    @property
    def faster_preset(self) -> str | None:
        """The next faster preset; None where there is none."""
        presets = self.codec_spec.presets
        index = presets.index(self.preset or self.codec_spec.preset)
        return presets[index - 1] if index else None

    def options(self, threads: int) -> dict[str, str]:
        """Return the options of FFmpeg's encoder.

        Args:
            threads: How many threads it may use; 0 lets it choose.
        """
        codec = self.codec_spec
        crf = codec.crf if self.crf is None else self.crf
        thread_options = (
            {codec.threads_option: codec.threads_value.format(threads or os.cpu_count())}
            if codec.threads_option
            else {}
        )
        return {
            "crf": str(crf),
            codec.preset_option: self.preset or codec.preset,
            **({} if self.preset else codec.unnamed),
            **codec.others,
            **thread_options,
        }
