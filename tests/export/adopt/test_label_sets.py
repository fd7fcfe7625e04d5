"""Names of classes come from a known set, a file, or what the network's own file says."""

from pathlib import Path

import pytest

from segdeploy.datasets.formats.voc import voc_color
from segdeploy.errors import ConfigError
from segdeploy.export.adopt.label_sets import (
    KNOWN,
    indexed,
    metadata_classes,
    named_classes,
    with_background,
)


def test_known_sets_have_their_classes() -> None:
    counts = {name: len(named_classes(name) or ()) for name in KNOWN}

    assert counts == {
        "ade20k": 150,
        "camvid": 11,
        "carvana": 2,
        "cityscapes": 19,
        "idd_lite": 7,
        "voc": 21,
    }
    # As PASCAL's development kit colors a background, an aeroplane and a person.
    assert [voc_color(index) for index in (0, 1, 15)] == [(0, 0, 0), (128, 0, 0), (192, 128, 128)]


def test_names_come_from_a_file_or_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("road\n\n sky \n")
    (tmp_path / "classes.toml").write_text('[[classes]]\nname = "crack"\n')

    found = [
        [entry.name for entry in named_classes(text) or ()]
        for text in (str(tmp_path / "names.txt"), str(tmp_path / "classes.toml"), "a, b", "crack,")
    ]

    assert found == [["road", "sky"], ["crack"], ["a", "b"], ["crack"]]
    assert named_classes("auto") is None


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ({"names": "{0: 'road', 1: 'car'}"}, ["road", "car"]),
        ({"names": '["road", "car"]'}, ["road", "car"]),
        ({"id2label": '{"1": "car", "0": "road"}'}, ["road", "car"]),
        ({"names": "__import__('os').system('x')", "classes": "('a',)"}, ["a"]),
        ({"names": "{0: 'road', 2: 'car'}"}, None),
        ({"names": "['a', 'a']"}, None),
        ({"names": "[" * 9999}, None),
        ({}, None),
    ],
)
def test_names_are_read_from_metadata(metadata: dict[str, str], names: list[str] | None) -> None:
    """Text of a file is parsed as data, never evaluated."""
    found = metadata_classes(metadata)

    assert (None if found is None else [entry.name for entry in found]) == names


def test_indices_of_names_have_no_gap() -> None:
    assert indexed({"0": "a", "1": "b"}) == ["a", "b"]
    assert indexed({"a": "b"}) == []


@pytest.mark.parametrize("text", ["a,a", ",", "a,\x1b[2J"])
def test_names_that_no_card_can_hold_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="empty, not printable, or stands twice"):
        named_classes(text)


def test_background_has_a_name_of_its_own() -> None:
    with pytest.raises(ConfigError, match="is among --classes already"):
        with_background("a", named_classes("a,b") or ())
