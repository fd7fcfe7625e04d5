"""Classes get the colors of a palette or a file."""

from pathlib import Path

import pytest

from segdeploy.card import LabelClass
from segdeploy.errors import ConfigError
from segdeploy.imaging.palettes import PALETTES, recolor

CLASSES = tuple(LabelClass(name=name, color=(1, 2, 3)) for name in ("road", "side walk", "car"))


@pytest.mark.parametrize("name", PALETTES)
def test_every_palette_gives_each_class_its_own_color(name: str) -> None:
    """Names stay, and no two classes share a color."""
    found = recolor(CLASSES, name)

    assert [entry.name for entry in found] == ["road", "side walk", "car"]
    assert len({entry.color for entry in found}) == 3
    assert len(PALETTES[name](1)) == 1


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    """Both notations of a color; classes that are not named keep theirs."""
    path = tmp_path / "palette.toml"
    path.write_text('road = "#8040fF"\n"side walk" = [9, 8, 7]\n')

    assert [entry.color for entry in recolor(CLASSES, str(path))] == [
        (128, 64, 255),
        (9, 8, 7),
        (1, 2, 3),
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("road = ", "is not a palette"),
        ("sky = [1, 2, 3]", "'sky', which is not a class; classes are road, side walk, car"),
        ("road = [1, 2]", r"'\[1, 2\]' is not a color"),
        ("road = [1, 2, 256]", "is not a color"),
        ('road = "red"', "'red' is not a color"),
    ],
)
def test_a_bad_file_gets_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    """Where it is wrong, and what to write."""
    path = tmp_path / "palette.toml"
    path.write_text(content)

    with pytest.raises(ConfigError, match=sentence):
        recolor(CLASSES, str(path))


def test_an_unknown_palette_is_refused() -> None:
    """The message lists those that exist."""
    with pytest.raises(
        ConfigError, match="no palette or file rainbow; palettes are distinct, okabe-ito, turbo"
    ):
        recolor(CLASSES, "rainbow")


def test_okabe_and_ito_have_eight_colors() -> None:
    """Repeating a color would mislead."""
    with pytest.raises(ConfigError, match="8 colors and there are 9 classes"):
        recolor(CLASSES * 3, "okabe-ito")
