"""One camera: a thread that takes the newest frame, segments it, and publishes what it found."""

import asyncio
import io
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import cv2

from segdeploy.arrays import Image
from segdeploy.errors import CancelledRequest, ConfigError, DataError, RequestError, SegdeployError
from segdeploy.imaging.io import to_jpeg
from segdeploy.imaging.overlay import Painter
from segdeploy.serving.engine.models import NAME
from segdeploy.serving.engine.scheduler import Work
from segdeploy.serving.web.answers import segment
from segdeploy.serving.web.service import Service
from segdeploy.video.alerts import Alert, AlertAction, AlertEvent, AlertWatch
from segdeploy.video.annotations import class_shares
from segdeploy.video.frames import Frame
from segdeploy.video.run_options import Selection
from segdeploy.video.sources import OpenedSource, open_source
from segdeploy.video.zones import Zone, ZoneMeter, ZoneShares, zones_of

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each further try to connect; the last one is repeated for ever."""

JPEG_QUALITY = 80

STALE = 1.0
"""Seconds from which on the age of an image is drawn into its live view."""

SILENT = 5.0
"""Seconds without a frame from which on a camera counts as not connected."""

Open = Callable[[str, Callable[[], bool]], OpenedSource]
"""Opens a source; the second argument says whether to stop waiting for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """What a camera showed last.

    Attributes:
        frame: Number of the frame in its connection.
        taken: Time of the frame, by `time.monotonic`.
        width: Width of the frame, in pixels.
        height: Height of the frame, in pixels.
        shares: Share of each class, in [0, 1].
        zones: Shares in each zone.
        drawn: The overlay; None while nobody looks.
    """

    frame: int
    taken: float
    width: int
    height: int
    shares: dict[str, float]
    zones: ZoneShares
    drawn: Image | None


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """What cameras are started with.

    Attributes:
        sources: Where each camera's frames come from, by its name.
        zones: Zones of all cameras.
        alerts: Conditions on the zones.
        action: Tells of events; None where metrics and lines of JSON are enough.
    """

    sources: dict[str, str]
    zones: Sequence[Zone] = ()
    alerts: Sequence[Alert] = ()
    action: AlertAction | None = None


def named_sources(texts: Sequence[str]) -> dict[str, str]:
    """Return the sources of cameras by their names, of texts such as "door=rtsp://...".

    Raises:
        ConfigError: A text has another form, or two cameras have one name.
    """
    sources: dict[str, str] = {}
    for text in texts:
        name, _, source = text.partition("=")
        if not NAME.fullmatch(name) or not source or source == "-":
            msg = f"{text!r} is no camera; write NAME=SOURCE, for example door=rtsp://10.0.0.7/1"
            raise ConfigError(msg)
        if name in sources:
            msg = f"two cameras are called {name}; name each once"
            raise ConfigError(msg)
        sources[name] = source
    return sources


def without_password(text: str) -> str:
    """Return a text with addresses in it without user name and password."""
    return re.sub(r"://[^/@\s]*@", "://", text)


class Camera:
    """A camera whose frames are segmented one after the other; the newest always wins.

    Its thread connects again for ever, with growing pauses.

    Attributes:
        name: Its name.
        snapshot: What it showed last; None before the first frame.
        is_connected: Whether frames arrive.
        problem: Why they do not.
    """

    def __init__(
        self,
        name: str,
        settings: CameraSettings,
        service: Service,
        *,
        opens: Open | None = None,
        note: Callable[[str], None],
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """Prepare the thread.

        Args:
            name: Name of the camera.
            settings: What all cameras are started with.
            service: Segments the frames with its default model.
            opens: Opens the source; None for `open_source`.
            note: Takes what happened to the connection.
            pauses: Seconds before each further try to connect.
        """
        self.name = name
        self.snapshot: Snapshot | None = None
        self.is_connected = False
        self.problem = "not connected yet"
        self._source = settings.sources[name]
        self._service = service
        self._opens = opens or _open
        self._note, self._pauses = note, pauses
        self._zones = zones_of(settings.zones, name)
        self._meter: ZoneMeter | None = None
        self._watch = AlertWatch(settings.alerts, camera=name)
        self._action = settings.action
        self._stopping = Event()
        self._viewers = 0
        self._thread = Thread(target=self._run, name=f"segdeploy-camera-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread; called in the server's loop."""
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Future[None] = self._loop.create_future()
        self._thread.start()

    def stop(self) -> None:
        """Let the thread and all views end."""
        self._stopping.set()
        self._loop.call_soon_threadsafe(self._wake)

    def join(self, seconds: float) -> None:
        """Wait until the thread has ended."""
        self._thread.join(seconds)

    @property
    def is_stopping(self) -> bool:
        """Whether all views end."""
        return self._stopping.is_set()

    @property
    def age(self) -> float:
        """Return how old the last frame is, in seconds; infinite before the first one."""
        snapshot = self.snapshot
        return float("inf") if snapshot is None else max(0.0, time.monotonic() - snapshot.taken)

    @contextmanager
    def viewed(self) -> Iterator[None]:
        """Draw the overlay as long as the block lasts."""
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1

    async def wait(self, seconds: float) -> None:
        """Wait for the next frame, or for so many seconds."""
        await asyncio.wait({self._next}, timeout=seconds)

    def state(self) -> dict[str, object]:
        """Return what is told of the camera, as JSON's values."""
        snapshot, age = self.snapshot, self.age
        connected = self.is_connected and age < SILENT
        values: dict[str, object] = {"camera": self.name, "connected": connected}
        if not connected:
            values["problem"] = self.problem or "no frame arrives"
        if snapshot is not None:
            values |= {
                "frame": snapshot.frame,
                "age": round(age, 3),
                "width": snapshot.width,
                "height": snapshot.height,
                "shares": snapshot.shares,
                "zones": snapshot.zones,
            }
        return values

    def picture(self) -> bytes | None:
        """Return the last overlay as JPEG, with its age where it is old; None without one."""
        snapshot, age = self.snapshot, self.age
        if snapshot is None or snapshot.drawn is None:
            return None
        image = snapshot.drawn
        if age > STALE:
            image = image.copy()
            text, place = f"{age:.0f} s old", (8, image.shape[0] - 10)
            for color, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
                cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, color, width)
        return to_jpeg(image, quality=JPEG_QUALITY)

    def _run(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            try:
                with self._opens(self._source, self._stopping.is_set) as opened:
                    self._note(f"camera {self.name} is connected")
                    tries = 0
                    self._follow(opened)
                    self.problem = "the connection ended"
            except SegdeployError as error:
                self.problem = without_password(str(error))
            self.is_connected = False
            if self._stopping.is_set():
                return
            pause = self._pauses[min(tries, len(self._pauses) - 1)]
            self._note(f"camera {self.name}: {self.problem}; the next try is in {pause:g} s")
            tries += 1
            self._stopping.wait(pause)

    def _follow(self, opened: OpenedSource) -> None:
        start = time.monotonic()
        for frame in opened.source:
            if self._stopping.is_set():
                return
            # A recorded video is played at its speed; of a camera the newest frame is here.
            if opened.live is None:
                self._stopping.wait(max(0.0, start + frame.seconds - time.monotonic()))
                if time.monotonic() - start - frame.seconds > STALE:
                    continue
            taken = time.monotonic() if opened.live is None else start + frame.seconds
            self.is_connected, self.problem = True, ""
            self._take(frame, taken)

    def _take(self, frame: Frame, taken: float) -> None:
        """Segment a frame and publish what it shows."""
        model = self._service.models.get()
        meter = self._meter
        if meter is None or meter.classes != model.card.classes:
            meter = self._meter = ZoneMeter(self._zones, model.card.classes)

        def do(work: Work) -> Snapshot:
            result = segment(frame.image, model, work)
            with work.stage("encode"):
                painter = Painter(result.classes)
                return Snapshot(
                    frame=frame.index,
                    taken=taken,
                    width=result.mask.shape[1],
                    height=result.mask.shape[0],
                    shares=dict(class_shares(result.mask, result.classes)),
                    zones=meter.measure(result.mask),
                    drawn=painter.paint(frame.image, result.mask) if self._viewers else None,
                )

        try:
            self.snapshot = self._service.scheduler.submit(do, waits=True).future.result()
        except (CancelledRequest, RequestError):
            return
        self._loop.call_soon_threadsafe(self._wake)
        self._report(self.snapshot, frame.seconds)

    def _report(self, snapshot: Snapshot, seconds: float) -> None:
        metrics = self._service.metrics
        for zone, shares in snapshot.zones.items():
            for label, share in shares.items():
                metrics.shares.labels(self.name, zone, label).set(share)
        for event in self._watch.update(snapshot.zones, seconds):
            metrics.alerts.labels(event.alert).inc()
            self._tell(event)

    def _tell(self, event: AlertEvent) -> None:
        self._note(f"alert: {event.alert} on {event.camera}, now {event.share:.1%}")
        if self._action is not None:
            self._action.tell(event)

    def _wake(self) -> None:
        if not self._next.done():
            self._next.set_result(None)
        self._next = self._loop.create_future()


def _open(source: str, should_stop: Callable[[], bool]) -> OpenedSource:
    """Open a camera, an address or a video.

    Raises:
        DataError: It is none, or cannot be opened.
    """
    opened = open_source(
        source, selection=Selection(), raw=None, pipe=io.BytesIO(), should_stop=should_stop
    )
    if opened.images is not None:
        msg = f"{source} holds images, which are no camera; name an address, a number or a video"
        raise DataError(msg)
    return opened
