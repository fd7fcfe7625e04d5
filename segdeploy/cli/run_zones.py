"""Options of `segdeploy run`: zones, and alerts on them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdeploy.cli.console import note
from segdeploy.cli.options import grouped, option, section
from segdeploy.errors import ConfigError

if TYPE_CHECKING:
    from segdeploy.card import ModelCard
    from segdeploy.video.frames import Outputs, VideoInfo

ZONES_FILE = "zones.jsonl"
"""End of the name of the file about zones."""


@dataclass(frozen=True, kw_only=True)
class ZoneOptions:
    """Zones of a video or a camera.

    Attributes:
        zones: File of zones; None for none.
        alert: Conditions on them.
        on_alert: Address or command that is told of events; None for none.
    """

    zones: Path | None
    alert: tuple[str, ...]
    on_alert: str | None

    def __post_init__(self) -> None:
        """Check that the options go together.

        Raises:
            ConfigError: One has no effect.
        """
        for name, value, other, needed in (
            ("--alert", self.alert, "--zones", self.zones),
            ("--on-alert", self.on_alert, "--alert", self.alert),
        ):
            if value and not needed:
                msg = f"{name} has no effect without {other}; add it, or leave {name} out"
                raise ConfigError(msg)

    def add(
        self,
        outputs: "AbstractContextManager[Outputs]",
        folder: Path | None,
        *,
        info: "VideoInfo | None",
        card: "ModelCard",
        resumed: int,
    ) -> "AbstractContextManager[Outputs]":
        """Return the outputs of a run with a file about its zones, if there are zones.

        Args:
            outputs: The other outputs.
            folder: Folder of the results; None where they go into a pipe.
            info: The video; None for images.
            card: Card of the network.
            resumed: How many frames an interrupted run finished.

        Raises:
            ConfigError: The source has no time, the results no folder, the beginning is missing,
                or an alert names something unknown.
        """
        if self.zones is None:
            return outputs
        if info is None or folder is None or resumed:
            msg = (
                "--zones measures a whole video or a camera over time, into a folder; leave it out"
                " for images, for a pipe and with --resume"
            )
            raise ConfigError(msg)
        return self._lines(outputs, folder / f"{info.name}-{ZONES_FILE}", info.name, card)

    @contextmanager
    def _lines(
        self, outputs: "AbstractContextManager[Outputs]", path: Path, camera: str, card: "ModelCard"
    ) -> "Iterator[Outputs]":
        # Only runs with zones need them.
        from segdeploy.video.alerts import AlertAction, AlertEvent, AlertWatch, parse_alerts
        from segdeploy.video.zone_lines import with_zone_lines
        from segdeploy.video.zones import ZoneMeter, read_zones, zones_of

        assert self.zones is not None, "without zones there are no lines"
        meter = ZoneMeter(zones_of(read_zones(self.zones), camera), card.classes)
        alerts = parse_alerts(
            self.alert,
            zones=[zone.name for zone in meter.zones],
            classes=[entry.name for entry in card.classes],
        )
        with AlertAction(self.on_alert, note=note) if self.on_alert else nullcontext() as action:

            def tell(event: AlertEvent) -> None:
                note(f"alert: {event.alert} at {event.seconds:.2f} s, now {event.share:.1%}")
                if action is not None:
                    action.tell(event)

            watch = AlertWatch(alerts, camera=camera)
            lines = with_zone_lines(outputs, path, meter=meter, watch=watch, tell=tell)
            with lines as written:
                yield written


ALERT_OPTION = option(
    "--alert",
    multiple=True,
    metavar="CONDITION",
    help="For example 'road.Pedestrian>2% for 3s', zone and class; may be repeated.",
)

ON_ALERT_OPTION = option(
    "--on-alert",
    metavar="URL|COMMAND",
    help="What is told of each event once: an address by POST, or a command on its stdin.",
)

zone_options = grouped(
    "zones",
    ZoneOptions,
    section(
        "Zones",
        option(
            "--zones",
            type=click.Path(path_type=Path),
            help="JSON file of polygons in which the share of each class is measured over time.",
        ),
        ALERT_OPTION,
        ON_ALERT_OPTION,
    ),
)
