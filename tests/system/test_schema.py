"""Values are converted as a whole, or refused in one sentence with the path and the value."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct, field

from segdeploy.errors import ConfigError
from segdeploy.system.schema import convert


class Lens(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: Literal["wide", "long"] = "wide"
    gain: float = 1.0

    def __post_init__(self):
        if self.gain == 0:
            msg = "the gain is 0"
            raise ValueError(msg)


class Camera(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    fps: float
    size: tuple[int, int] = (640, 480)
    level: Annotated[int, Meta(ge=0, le=255)] = 0
    name: str | None = None
    lenses: tuple[Lens, ...] = ()
    first: Lens | None = None
    named: Mapping[str, Lens] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    upright: bool = field(default=True, name="up")


def read(values):
    return convert(values, Camera, refuse=lambda problem: ConfigError(f"camera.toml: {problem}"))


def test_lists_become_tuples_and_whole_numbers_floating_point_ones():
    """TOML and JSON have no tuples, and 25 is accepted for 25.0."""
    camera = read({"fps": 25, "size": [10, 20], "lenses": [{"gain": 2}], "up": False})

    assert camera == Camera(fps=25.0, size=(10, 20), lenses=(Lens(gain=2.0),), upright=False)
    assert isinstance(camera.fps, float)


def test_free_tables_are_left_alone():
    """Free tables, as a recipe inside a card, come back as they were, whatever their numbers."""
    notes = {"a": [1, [2.5, None]], "b": 10**400, "c": math.inf}

    assert read({"fps": 1, "notes": notes}).notes == notes


def test_nan_is_accepted():
    """A loss may be NaN, so the schema accepts it."""
    assert math.isnan(read({"fps": math.nan}).fps)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"fps": "25"}, "fps is '25' and must be a number"),
        ({"fps": True}, "fps is True and must be a number"),
        ({"fps": None}, "fps is None and must be a number"),
        ({"fps": 1, "size": [1, 2.5]}, "size[1] is 2.5 and must be a whole number"),
        ({"fps": 1, "size": [1]}, "size is [1] and must be a list of length 2"),
        ({"fps": 1, "size": 3}, "size is 3 and must be a list"),
        ({"fps": 1, "level": 256}, "level is 256 and must be a whole number <= 255"),
        ({"fps": 1, "name": 3}, "name is 3 and must be a string or null"),
        ({"fps": 1, "up": 1}, "up is 1 and must be true or false"),
        ({"fps": 1, "first": {"kind": "x"}}, "first.kind is 'x' and must be one of long, wide"),
        (
            {"fps": 1, "lenses": [{}, {"kind": 4}]},
            "lenses[1].kind is 4 and must be one of long, wide",
        ),
        ({"fps": 1, "lenses": [3]}, "lenses[0] is 3 and must be a table"),
        ({"fps": 1, "named": {"a": {"gain": ""}}}, "named[...].gain must be a number"),
        (
            {"fps": 1, "name": ["long" * 30]},
            f"name is ['{('long' * 30)[:58]}... and must be a string or null",
        ),
        ({"fps": 1, "first": {"kind": "\ud800"}}, "it holds '\\ud800', which is not a character"),
        ([1], "it is [1] and must be a table"),
        ({}, "the key 'fps' is missing"),
        ({"fps": 1, "lenses": [{"gain": 0}]}, "in lenses[0]: the gain is 0"),
        ({"fps": 1, "first": {"zoom": 1}}, "the key 'first.zoom' is unknown; known are kind, gain"),
        (
            {"fps": 1, "lenses": [{"zoom": 1}]},
            "the key 'lenses[0].zoom' is unknown; known are kind, gain",
        ),
        (
            {"fps": 1, "named": {"a": {"zoom": 1}}},
            "the key 'named[...].zoom' is unknown; known are kind, gain",
        ),
        (
            {"fps": 1, "zoom": 1},
            (
                "the key 'zoom' is unknown; known are fps, size, level, name, lenses, first, named,"
                " notes, up"
            ),
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(values, problem):
    """It names the place in the document, the value, and what the value must be."""
    with pytest.raises(ConfigError) as caught:
        read(values)

    assert str(caught.value) == f"camera.toml: {problem}"


def test_the_first_error_stays_the_cause():
    """msgspec's error is kept for debugging."""
    with pytest.raises(ConfigError) as caught:
        read({})

    assert isinstance(caught.value.__cause__, msgspec.ValidationError)
