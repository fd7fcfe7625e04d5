"""Options of `segdeploy run`: what one frame of a video takes from its neighbors."""

from dataclasses import dataclass

import click

from segdeploy.card import ModelCard
from segdeploy.cli.options import grouped, option, section
from segdeploy.errors import ConfigError
from segdeploy.video.motion import MOST_EVERY, MotionCarrier
from segdeploy.video.smoothing import SMOOTHERS, TemporalSmoother, make_smoother
from segdeploy.video.sources import OpenedSource

TUNED_HINT = ", or write --every 1 where --tuned sets it"
"""What to do where the option was not given by hand."""


@dataclass(frozen=True, kw_only=True)
class NeighborOptions:
    """How frames of a video depend on their neighbors; by default not at all.

    Attributes:
        smooth: Name of a temporal smoother; None for none.
        every: Distance of two frames that the network runs on.
    """

    smooth: str | None = None
    every: int = 1

    @property
    def given(self) -> list[str]:
        """The options that are set, as a user writes them."""
        names = [f"--smooth {self.smooth}"] if self.smooth else []
        return names + ([f"--every {self.every}"] if self.every > 1 else [])

    def check_resume(self) -> None:
        """Raise a ConfigError if frames depend on others, which a resumed run skips."""
        for name in self.given:
            msg = f"{name} needs the frames before, which --resume skips; leave out one of the two"
            raise ConfigError(msg)

    def check(self, opened: OpenedSource) -> None:
        """Raise a ConfigError if frames depend on others, and the source has none."""
        for name in self.given if opened.info is None else ():
            msg = (
                f"images are not a sequence in time; leave out {name}, which is for videos and"
                f" cameras{TUNED_HINT if name.startswith('--every') else ''}"
            )
            raise ConfigError(msg)

    def make_smoother(self, card: ModelCard) -> TemporalSmoother | None:
        """Return the temporal smoother of a source; None without the option.

        Raises:
            ConfigError: The network's output cannot be smoothed.
        """
        return TemporalSmoother(make_smoother(self.smooth, card)) if self.smooth else None

    def make_carrier(self, card: ModelCard, opened: OpenedSource) -> MotionCarrier | None:
        """Return what carries outputs from frame to frame; None without the option."""
        if self.every == 1:
            return None
        return MotionCarrier(self.every, card.input, live=opened.live is not None)


neighbor_options = grouped(
    "neighbors",
    NeighborOptions,
    section(
        "Video",
        option(
            "--smooth",
            type=click.Choice(SMOOTHERS),
            help=(
                "Reduce flicker in videos: a moving average of the outputs, or hysteresis of each"
                " pixel's class. The flicker before and after is printed."
            ),
        ),
        option(
            "--every",
            default=1,
            type=click.IntRange(1, MOST_EVERY),
            help=(
                "Run the network on every Nth frame of a video, and carry its outputs to the"
                " others by optical flow: faster, and hardly less accurate up to 3."
            ),
        ),
    ),
)
