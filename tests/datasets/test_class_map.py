"""classes.toml says what masks hold, and every mistake in it is reported in a sentence."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segdeploy.datasets.class_map import read_class_map
from segdeploy.datasets.mask_formats import Colors, Ids
from segdeploy.errors import DataError
from segdeploy.imaging.palettes import distinct_color


def write(folder: Path, text: str) -> Path:
    """Write a classes.toml."""
    path = folder / "classes.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_order_gives_the_ids_where_none_is_given(tmp_path: Path) -> None:
    """The shortest file that works: names only; 255 is not labeled."""
    class_map = read_class_map(
        write(tmp_path, '[[classes]]\nname = "road"\n[[classes]]\nname = "car"\n')
    )

    assert [entry.name for entry in class_map.classes] == ["road", "car"]
    assert class_map.ids == {0: 0, 1: 1, 255: 255}
    assert isinstance(class_map.mask_format(), Ids)


def test_id_255_can_be_a_class(tmp_path: Path) -> None:
    """Black-and-white masks hold 0 and 255."""
    class_map = read_class_map(
        write(
            tmp_path,
            '[[classes]]\nname = "no"\nid = 0\n[[classes]]\nname = "yes"\nid = [255, 254]\n',
        )
    )

    assert class_map.ids == {0: 0, 254: 1, 255: 1}


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    """Windows Notepad writes one."""
    path = tmp_path / "classes.toml"
    path.write_bytes(b'\xef\xbb\xbf[[classes]]\nname = "road"\n')

    assert read_class_map(path).classes[0].name == "road"


def test_colors_within_reach(tmp_path: Path) -> None:
    """Masks that were JPEG once can be used."""
    class_map = read_class_map(
        write(
            tmp_path,
            'reach = 40\nignore = [[0, 0, 0]]\n[[classes]]\nname = "road"\nmask_color = [9, 8,'
            " 7]\n",
        )
    )

    assert class_map.mask_format() == Colors(
        table=(((9, 8, 7), 0), ((0, 0, 0), 255)), reach=40, strict=False
    )
    assert class_map.classes[0].color == (9, 8, 7)


ROAD = '[[classes]]\nname = "road"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there are 0 tables"),
        ("classes = 3", "classes is '3'"),
        (
            ROAD + "colour = [0, 0, 0]",
            "unknown key 'colour'; known are color, id, label, mask_color, name",
        ),
        ("ignored = [3]\n" + ROAD, "unknown key 'ignored'"),
        (
            ROAD + "id = 256",
            r"in class number 0 \(road\): id is '256', and must be a whole number within 0 and 255",
        ),
        (ROAD + 'id = "3"', "id is '3', and must be a whole number"),
        (
            ROAD + "mask_color = [1, 2, 3]\n" + ROAD.replace("road", "car") + "id = 4",
            "the class 'car' has an id and others have a mask_color",
        ),
        ("ignore = 1.5\n" + ROAD, "ignore holds '1.5', and must hold ids, colors or labels"),
        (ROAD + "id = true", "id is"),
        (
            ROAD + "id = 1\n" + ROAD.replace("road", "car") + "id = [2, 1]",
            "1 stands for two classes",
        ),
        ("ignore = [1]\n" + ROAD + "id = 1", "1 stands for a class and is ignored"),
        (ROAD + ROAD, "one name|two classes"),
        (
            ROAD + '[[classes]]\nname = "\\u00a0road\\r"\nlabel = "x"',
            "two classes have the same name 'road'",
        ),
        ('[[classes]]\nname = "\\u200d\\t"', "must be a string that can be printed"),
        (ROAD + "color = [1, 2]", "red, green, blue"),
        (ROAD + "mask_color = [1, 2, 300]", "'300'"),
        ("[[classes]]\nname = 3", "the name of a class is '3'"),
        ("[[classes]]\nid = 3", "the name of a class is 'None'"),
        ("reach = -1\n" + ROAD, "reach is '-1'"),
        ("[[classes", "is not TOML"),
        (
            "\n".join(ROAD.replace("road", f"c{number}") for number in range(255)),
            "there are 255 tables",
        ),
    ],
)
def test_mistake_is_reported(text: str, sentence: str, tmp_path: Path) -> None:
    """A wrong class map would train a wrong network unnoticed."""
    with pytest.raises(DataError, match=sentence):
        read_class_map(write(tmp_path, text))


def test_a_name_that_cannot_be_printed_is_mended(tmp_path: Path) -> None:
    """A card holds none; annotations still name the class as the file does."""
    class_map = read_class_map(
        write(tmp_path, '[[classes]]\nname = "traffic\\u00a0\\tlight\\u200d\\r"\n')
    )

    assert class_map.classes[0].name == "traffic light"
    assert class_map.labels == {"traffic\u00a0\tlight\u200d\r": 0}


def test_missing_class_map_names_the_command_that_writes_one(tmp_path: Path) -> None:
    """The next command is part of the message."""
    with pytest.raises(DataError, match="segdeploy data init"):
        read_class_map(tmp_path / "classes.toml")


values = st.recursive(
    st.integers(-300, 300)
    | st.booleans()
    | st.sampled_from(["road", "", "ü", 'a"b'])
    | st.just("1.5"),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)
keys = st.sampled_from(["name", "color", "id", "mask_color", "label", "other"])
tables = st.lists(st.dictionaries(keys, values, max_size=4), max_size=4)


def toml(value: object) -> str:
    """Write a value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return str(value) if isinstance(value, int) else "'" + str(value) + "'"


@given(tables=tables, ignore=values, reach=values)
def test_any_values_are_a_class_map_or_reported(
    tables: list[dict[str, object]],
    ignore: object,
    reach: object,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """No content causes a traceback."""
    text = f"ignore = {toml(ignore)}\nreach = {toml(reach)}\n"
    text += "".join(
        "[[classes]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in entry.items())
        for entry in tables
    )
    path = write(tmp_path_factory.mktemp("class_map"), text)

    with suppress(DataError):
        read_class_map(path).mask_format()


@given(content=st.binary(max_size=200))
def test_any_bytes_are_reported(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """For example an image, or a truncated file."""
    path = tmp_path_factory.mktemp("class_map") / "classes.toml"
    path.write_bytes(content)

    with pytest.raises(DataError):
        read_class_map(path)


def test_default_colors_are_far_from_each_other() -> None:
    """Any two of the first dozen can be distinguished in an overlay."""
    colors = np.array([distinct_color(index) for index in range(12)])

    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + np.eye(12) * 999

    assert distances.min() > 50
