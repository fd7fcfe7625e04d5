"""Alerts: when an event begins, that it is told once, and how it is told."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from segdeploy.errors import ConfigError
from segdeploy.video.alerts import Alert, AlertAction, AlertEvent, AlertWatch

ZONES, CLASSES = ("road", "the road.left"), ("Pedestrian", "Car")


def parse(text: str) -> Alert:
    """Return the alert of a text."""
    return Alert.parse(text, zones=ZONES, classes=CLASSES)


def event(text: str = "a") -> AlertEvent:
    """Return an event."""
    return AlertEvent(alert=text, camera="door", zone="road", label="Car", share=0.5, seconds=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("road.Pedestrian>2% for 3s", ("road", "Pedestrian", True, 0.02, 3.0)),
        ("road.Car < 0.5 % for 500ms", ("road", "Car", False, 0.005, 0.5)),
        ("the road.left.Car>50%", ("the road.left", "Car", True, 0.5, 0.0)),
        ("road.Car>1% for 2min", ("road", "Car", True, 0.01, 120.0)),
    ],
)
def test_conditions_are_read(text: str, expected: tuple[object, ...]) -> None:
    """Names may hold spaces and dots."""
    alert = parse(text)

    assert (alert.zone, alert.label, alert.is_more, alert.limit, alert.seconds) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "road", "road.Car", "road.Car>2", "road.Car>101%", "road.Car>2% for 3h"),
        *("road.Cat>2%", "roof.Car>2%", "road.Car=2%", "road.Car>nan%", "road.Car>-1%"),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    """An alert that never comes is worse than none."""
    with pytest.raises(ConfigError):
        parse(text)


def test_event_is_told_once_after_its_time_and_again_after_a_break() -> None:
    """Share by second: 0, 9, 9, 9, 9, 9, 0, 9, 9, 9, 9 percent, with 3 s above 2 percent."""
    watch = AlertWatch([parse("road.Car>2% for 3s")], camera="door")
    shares = [0, 9, 9, 9, 9, 9, 0, 9, 9, 9, 9]

    told = [
        second
        for second, share in enumerate(shares)
        if watch.update({"road": {"Car": share / 100, "Pedestrian": 0}}, second)
    ]

    assert told == [4, 10]


def test_zone_of_another_camera_never_alerts() -> None:
    """A camera without the zone says nothing about it."""
    watch = AlertWatch([parse("road.Car<2%")], camera="door")

    assert watch.update({}, 1) == []


def test_command_gets_the_event_without_a_shell(tmp_path: Path) -> None:
    """What stands in the command is not interpreted: no file is created by the redirection."""
    script, place = tmp_path / "a b.py", tmp_path / "told"
    script.write_text(
        f"import sys; open({str(place)!r}, 'a').write(sys.stdin.read() + sys.argv[1])"
    )
    notes: list[str] = []

    with AlertAction(f"{sys.executable} '{script}' '> {tmp_path}/x'", note=notes.append) as action:
        action.tell(event())

    values, _, argument = place.read_text().rpartition("}")
    assert json.loads(values + "}")["share"] == 0.5
    assert argument == f"> {tmp_path}/x"
    assert notes == []


def test_address_gets_the_event() -> None:
    """By POST, as JSON."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with AlertAction(f"http://127.0.0.1:{server.server_port}/", note=print) as action:
            action.tell(event())
        thread.join()

    assert json.loads(got[0])["alert"] == "a"


@pytest.mark.parametrize("target", ["false", "/no/such/command", "http://127.0.0.1:9/"])
def test_failing_action_is_noted_and_nothing_else(target: str) -> None:
    """The cameras go on."""
    notes: list[str] = []

    with AlertAction(target, note=notes.append) as action:
        action.tell(event("b"))

    assert len(notes) == 1
    assert "was not told of 'b'" in notes[0]


@pytest.mark.parametrize("target", ["", "  ", "echo 'a"])
def test_empty_action_is_refused(target: str) -> None:
    """At the start, not when something happens."""
    with pytest.raises(ConfigError):
        AlertAction(target, note=print)
