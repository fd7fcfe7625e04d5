"""Alerts: a class takes more or less of a zone than allowed for some time, told once per event."""

import http.client
import json
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from queue import Full, Queue
from threading import Thread
from typing import Self

from segdeploy.errors import ConfigError
from segdeploy.video.zones import ZoneShares

FORM = re.compile(
    r"(?P<what>.+?)\s*(?P<sign>[<>])\s*(?P<percent>\d{1,3}(?:\.\d{1,6})?)\s*%"
    r"(?:\s+for\s+(?P<time>\d{1,6}(?:\.\d{1,3})?)\s*(?P<unit>ms|s|min))?"
)
"""Zone and class, more or less, share, and for how long."""

UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0}

ACTION_SECONDS = 10
"""Seconds that a command, or an address, may take."""

WAITING_EVENTS = 100
"""Events that wait for an action; more are dropped and told."""

FAILURES = (OSError, ValueError, subprocess.SubprocessError, http.client.HTTPException)
"""What a command, or an address, can raise."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A condition on the share of a class in a zone.

    Attributes:
        text: As it was written.
        zone: Name of the zone.
        label: Name of the class.
        is_more: Whether the share must be above the limit, not below.
        limit: Share, in [0, 1].
        seconds: How long without a break.
    """

    text: str
    zone: str
    label: str
    is_more: bool
    limit: float
    seconds: float

    @classmethod
    def parse(cls, text: str, *, zones: Collection[str], classes: Collection[str]) -> Self:
        """Return the alert in a text such as "road.Pedestrian>2% for 3s".

        Args:
            text: The text.
            zones: Names of all zones.
            classes: Names of all classes.

        Raises:
            ConfigError: It has another form, or names something unknown.
        """
        found = FORM.fullmatch(text.strip())
        if found is None or float(found["percent"]) > 100:
            msg = f"{text!r} is no alert; write it like 'road.Pedestrian>2% for 3s'"
            raise ConfigError(msg)
        # Names may hold dots themselves.
        what = found["what"]
        places = [index for index, letter in enumerate(what) if letter == "."]
        pairs = [(what[:index], what[index + 1 :]) for index in places]
        known = [(zone, label) for zone, label in pairs if zone in zones and label in classes]
        if not known:
            msg = (
                f"the alert {text!r} names no known ZONE.CLASS; zones are {', '.join(zones)};"
                f" classes are {', '.join(classes)}"
            )
            raise ConfigError(msg)
        return cls(
            text=text.strip(),
            zone=known[0][0],
            label=known[0][1],
            is_more=found["sign"] == ">",
            limit=float(found["percent"]) / 100,
            seconds=float(found["time"] or 0) * UNITS[found["unit"] or "s"],
        )

    def holds(self, share: float) -> bool:
        """Return whether a share fulfills the condition."""
        return share > self.limit if self.is_more else share < self.limit


@dataclass(frozen=True, kw_only=True)
class AlertEvent:
    """The beginning of an event.

    Attributes:
        alert: Text of the alert.
        camera: Name of the camera.
        zone: Name of the zone.
        label: Name of the class.
        share: Share of the class now, in [0, 1].
        seconds: Time of the frame, in seconds.
    """

    alert: str
    camera: str
    zone: str
    label: str
    share: float
    seconds: float


class AlertWatch:
    """Follows the shares of one camera, in the order of its frames."""

    def __init__(self, alerts: Sequence[Alert], *, camera: str) -> None:
        """Start with no event.

        Args:
            alerts: Conditions; those on zones of other cameras never hold.
            camera: Name of the camera.
        """
        self._alerts = tuple(alerts)
        self._camera = camera
        self._since: dict[Alert, float] = {}
        self._told: set[Alert] = set()

    def update(self, shares: ZoneShares, seconds: float) -> list[AlertEvent]:
        """Return the events that begin with a frame.

        Args:
            shares: Shares in the zones of the frame.
            seconds: Time of the frame, in seconds.
        """
        return [
            AlertEvent(
                alert=alert.text,
                camera=self._camera,
                zone=alert.zone,
                label=alert.label,
                share=shares[alert.zone][alert.label],
                seconds=round(seconds, 3),
            )
            for alert in self._alerts
            if alert.zone in shares and self._begins(alert, shares, seconds)
        ]

    def _begins(self, alert: Alert, shares: ZoneShares, seconds: float) -> bool:
        if not alert.holds(shares[alert.zone][alert.label]):
            self._since.pop(alert, None)
            self._told.discard(alert)
            return False
        since = self._since.setdefault(alert, seconds)
        if alert in self._told or seconds - since < alert.seconds:
            return False
        self._told.add(alert)
        return True


class AlertAction:
    """Sends events to an address or a command, in a thread: no frame waits for it.

    It is a context manager, at whose end the events that wait are told.
    """

    def __init__(self, target: str, *, note: Callable[[str], None]) -> None:
        """Prepare the thread.

        Args:
            target: An address, which gets the event by POST; or a command, which is started without
                a shell and gets it on its standard input. Both get JSON.
            note: Takes what went wrong.

        Raises:
            ConfigError: It is neither.
        """
        self._target = target
        self._note = note
        self._is_address = re.match(r"https?://", target, re.IGNORECASE) is not None
        try:
            self._command = shlex.split(target)
        except ValueError as error:
            msg = f"{target!r} is no command ({error}); close its quotes"
            raise ConfigError(msg) from error
        if not self._command:
            msg = "the action of alerts is empty; name an address or a command"
            raise ConfigError(msg)
        self._events: Queue[AlertEvent | None] = Queue(WAITING_EVENTS)
        self._thread = Thread(target=self._run, name="segdeploy-alerts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._events.put(None)
        self._thread.join(ACTION_SECONDS)

    def tell(self, event: AlertEvent) -> None:
        """Let the thread tell of an event."""
        try:
            self._events.put_nowait(event)
        except Full:
            self._note(f"the alert {event.alert!r} was not told: {WAITING_EVENTS} others wait")

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            content = json.dumps(asdict(event)).encode()
            try:
                self._deliver(content)
            except FAILURES as error:
                self._note(f"{self._target} was not told of {event.alert!r}: {error}")

    def _deliver(self, content: bytes) -> None:
        if self._is_address:
            self._post(content)
        else:
            self._start(content)

    def _post(self, content: bytes) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "segdeploy"}
        request = urllib.request.Request(self._target, content, headers)  # noqa: S310 - http(s)
        with urllib.request.urlopen(request, timeout=ACTION_SECONDS) as response:  # noqa: S310
            response.read(1 << 16)

    def _start(self, content: bytes) -> None:
        subprocess.run(  # noqa: S603 - whoever starts us names the command
            self._command,
            input=content,
            stdout=subprocess.DEVNULL,
            timeout=ACTION_SECONDS,
            check=True,
        )


def parse_alerts(
    texts: Sequence[str], *, zones: Collection[str], classes: Collection[str]
) -> tuple[Alert, ...]:
    """Return all alerts of texts; raises what `Alert.parse` raises."""
    names = list(dict.fromkeys(zones))
    return tuple(Alert.parse(text, zones=names, classes=classes) for text in texts)
