"""Cameras: the newest frame wins, connections come back, views end, alerts are told once."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from segdeploy.arrays import Image
from segdeploy.errors import ConfigError, DataError
from segdeploy.serving.application import build_front
from segdeploy.serving.cameras.camera import (
    Camera,
    CameraSettings,
    named_sources,
    without_password,
)
from segdeploy.serving.cameras.live_views import LiveViews
from segdeploy.video.alerts import Alert
from segdeploy.video.live import LiveSource
from segdeploy.video.sources import OpenedSource
from segdeploy.video.zones import Zone
from tests.helpers.clips import gray_frames, write_clip
from tests.helpers.servers import make_client, make_service

ZONE = Zone(name="all", polygon=((0, 0), (48, 0), (48, 32), (0, 32)))


class Feed:
    """A feed of red images, which ends or goes on."""

    rate = Fraction(50)

    def __init__(self, count: int = 1000) -> None:
        self._count = count

    def __iter__(self) -> Iterator[Image]:
        image = np.zeros((32, 48, 3), np.uint8)
        image[..., 2] = 200
        for _ in range(self._count):
            time.sleep(0.005)
            yield image

    def close(self) -> None:
        """Nothing is open."""


def opener(*feeds: Feed | None) -> Callable[[str, Callable[[], bool]], OpenedSource]:
    """Return what opens these feeds in turn; None is one that cannot be opened."""
    left = list(feeds)

    def open_next(_source: str, should_stop: Callable[[], bool]) -> OpenedSource:
        feed = left.pop(0) if left else None
        if feed is None:
            msg = "no video can be read from rtsp://user:secret@door/1"
            raise DataError(msg)
        source = LiveSource("door", lambda: feed, should_stop=should_stop, pauses=())
        return OpenedSource(live=source)

    return open_next


async def run_until(camera: Camera, condition: Callable[[], bool]) -> None:
    """Run a camera until a condition holds, then stop it."""
    camera.start()
    async with asyncio.timeout(20):
        while not condition():
            await camera.wait(0.05)
    camera.stop()
    await asyncio.to_thread(camera.join, 10)


def make_camera(**parts: Any) -> Camera:
    """Return a camera called door."""
    settings = parts.pop("settings", CameraSettings(sources={"door": "rtsp://door"}))
    parts.setdefault("note", lambda _: None)
    return Camera("door", settings, make_service(), pauses=(0.01,), **parts)


def test_camera_publishes_shares_and_zones() -> None:
    """All is red, so red has all of the image and of the zone."""
    settings = CameraSettings(sources={"door": "x"}, zones=[ZONE])
    camera = make_camera(settings=settings, opens=opener(Feed()))

    asyncio.run(run_until(camera, lambda: camera.snapshot is not None))

    state = camera.state()
    assert state["shares"] == {"red": 1.0, "green": 0.0, "blue": 0.0}
    assert cast("dict[str, Any]", state["zones"])["all"]["red"] == 1.0
    assert camera.picture() is None


def test_lost_connection_comes_back_and_is_told_without_its_password() -> None:
    """It fails, works for three frames, fails again, and works."""
    notes: list[str] = []
    camera = make_camera(opens=opener(None, Feed(3), None, Feed()), note=notes.append)

    asyncio.run(run_until(camera, lambda: sum("is connected" in note for note in notes) == 2))

    assert sum("the next try is in" in note for note in notes) == 3
    assert "secret" not in "".join(notes)


def test_alert_is_told_once_per_event() -> None:
    """It holds for every frame, and is one event."""
    alert = Alert.parse("all.red>50%", zones=["all"], classes=["red"])
    told: list[Any] = []
    action = cast("Any", SimpleNamespace(tell=told.append))
    settings = CameraSettings(sources={"door": "x"}, zones=[ZONE], alerts=[alert], action=action)
    camera = make_camera(settings=settings, opens=opener(Feed()))

    def has_gone_on() -> bool:
        return camera.snapshot is not None and camera.snapshot.frame > 5

    asyncio.run(run_until(camera, has_gone_on))

    assert [event.share for event in told] == [1.0]


def test_recorded_video_is_played_at_its_speed(tmp_path: Path) -> None:
    """A clip of half a second takes half a second, whatever the network could do."""
    clip = write_clip(tmp_path / "clip.mp4", gray_frames(12))
    settings = CameraSettings(sources={"door": str(clip)})
    notes: list[str] = []
    camera = make_camera(settings=settings, note=notes.append)
    start = time.monotonic()

    asyncio.run(run_until(camera, lambda: any("ended" in note for note in notes)))

    assert time.monotonic() - start > 0.4


def test_live_view_draws_for_viewers_and_tells_old_images() -> None:
    """Nobody pays for a view that nobody has; an image that stands still says how old it is."""
    camera = make_camera(opens=opener(Feed()))

    async def look() -> bytes:
        front = build_front(make_service(), more=LiveViews({"door": camera}).routes())
        camera.start()
        async with make_client(front=front) as client, asyncio.timeout(20):
            states = (await client.get("/cameras")).json()
            assert states[0]["camera"] == "door"
            assert (await client.get("/live/window")).status_code == 404
        with camera.viewed():
            while (picture := camera.picture()) is None:
                await camera.wait(0.05)
        camera.stop()
        await asyncio.to_thread(camera.join, 10)
        return picture

    picture = asyncio.run(look())

    assert picture.startswith(b"\xff\xd8")


def test_names_and_sources() -> None:
    """Names stand in addresses."""
    assert named_sources(["door=rtsp://a/b?c=d", "yard=0"]) == {
        "door": "rtsp://a/b?c=d",
        "yard": "0",
    }
    for texts in (["door"], ["=0"], ["a b=0"], ["door="], ["door=-"], ["a=0", "a=1"]):
        with pytest.raises(ConfigError):
            named_sources(texts)
    assert (
        without_password("from rtsp://u:p@h/1 and rtsp://h/2") == "from rtsp://h/1 and rtsp://h/2"
    )


@pytest.mark.slow
def test_events_come_over_a_websocket(tmp_path: Path) -> None:
    """A program reads a line of JSON for each frame, and the server stops although it listens."""
    from tests.helpers.server_process import running

    connect = pytest.importorskip("websockets.sync.client").connect
    clip = write_clip(tmp_path / "clip.mp4", gray_frames(50))
    with running("street-int8", "--camera", f"door={clip}") as server:
        address = f"ws://127.0.0.1:{server.port}/live/door/events"
        with connect(address) as socket:
            states = [json.loads(socket.recv(timeout=30)) for _ in range(4)]
            code = server.stop()
        with pytest.raises(OSError, match="refused"):
            connect(address)

    assert code == 0
    assert states[-1]["camera"] == "door"
    assert states[-1]["shares"]
