"""Options of commands: headings, choices and defaults in `--help`, one value for the function."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from segdeploy.cli.main import COMMANDS, DATA_COMMANDS, LazyGroup, cli
from segdeploy.cli.option_values import option_values
from segdeploy.cli.options import (
    GENERAL,
    Command,
    Formatter,
    ImageSize,
    NameList,
    Option,
    grouped,
    option,
    options,
    section,
)
from segdeploy.errors import ConfigError

NAMES = [
    *((name,) for name in COMMANDS if name != "data"),
    *(("data", name) for name in DATA_COMMANDS),
]


def command_of(names: tuple[str, ...]) -> click.Command:
    """Return the command of names, such as ("data", "check")."""
    command: click.Command = cli
    for name in names:
        assert isinstance(command, LazyGroup)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


def help_of(names: tuple[str, ...], width: int) -> str:
    """Return the help of a command in a terminal of a width."""
    result = CliRunner().invoke(cli, [*names, "--help"], terminal_width=width)
    assert result.exit_code == 0, result.output
    return result.output


def choices_of(command: click.Command) -> Iterator[str]:
    """Return every choice of a command's options."""
    for param in command.params:
        if isinstance(param.type, click.Choice):
            yield from map(str, param.type.choices)


@pytest.mark.parametrize("names", NAMES, ids=" ".join)
def test_every_option_has_a_heading_and_a_help_text(names: tuple[str, ...]) -> None:
    """`General` is for --plugin and --help; everything else is listed by its topic."""
    shown = [param for param in command_of(names).params if isinstance(param, click.Option)]

    for param in shown:
        assert isinstance(param, Option), param.name
        assert param.help, param.name
        assert param.heading != GENERAL or param.name == "plugin", param.name


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("names", NAMES, ids=" ".join)
def test_help_fits_the_terminal_and_breaks_no_choice(names: tuple[str, ...], width: int) -> None:
    """A choice that is broken in the middle cannot be read, nor found with grep."""
    text = help_of(names, width)

    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    words = set(re.split(r"[\s,|\[\]().;:]+", text))
    assert set(choices_of(command_of(names))) <= words
    assert f"{GENERAL}:" in lines
    assert "Options:" not in lines


def test_help_lists_the_headings_in_order() -> None:
    """The common options come first, `General` last; options of one heading stand together."""

    @click.command(cls=Command)
    @section("Speed", option("--threads", default=2, help="Threads."))
    @section("Output", option("--json", is_flag=True, help="Print JSON."))
    @section("Speed", option("--batch", show_default="the best one", help="Images per call."))
    def work(**_: object) -> None:
        """Work."""

    text = CliRunner().invoke(work, ["--help"], terminal_width=80).output

    assert text.splitlines()[4:] == [
        "Speed:",
        "  --threads INTEGER  Threads.  [default: 2]",
        "  --batch TEXT       Images per call.  [default: the best one]",
        "",
        "Output:",
        "  --json  Print JSON.",
        "",
        "General:",
        "  --help  Show this message and exit.",
    ]


def test_long_choices_are_listed_in_the_text() -> None:
    """A metavar cannot be wrapped; the help text can."""
    names = ["automatic", "processor", "graphics-card", "something-else"]
    choice = Option(["--device"], type=click.Choice(names), help="Device.")

    record = choice.get_help_record(click.Context(click.Command("x")))

    assert record == (
        "--device NAME",
        "Device. One of automatic, processor, graphics-card, something-else.",
    )


def test_lines_break_at_spaces_only() -> None:
    """`street-int8` is a name, and must not be broken at the hyphen."""
    formatter = Formatter(width=40)

    formatter.write_dl([("--model", "A path or the model street-int8 of the package")])

    assert formatter.getvalue().splitlines() == [
        "--model  A path or the model street-int8",
        "         of the package",
    ]


def test_older_names_are_accepted_and_not_shown() -> None:
    """Scripts of users contain them."""

    @click.command(cls=Command)
    @section("Data", option("--images", older=("--pictures",), type=int, help="Number."))
    def work(*, images: int) -> None:
        click.echo(images)

    assert CliRunner().invoke(work, ["--pictures", "3"]).output == "3\n"
    assert "--pictures" not in CliRunner().invoke(work, ["--help"]).output


@dataclass(frozen=True, kw_only=True)
class Size:
    """Two options in one value."""

    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """A group of options, and one beside it."""

    size: Size
    name: str


def test_the_function_takes_one_value() -> None:
    """Groups are values of their own inside it."""
    taken: list[WorkOptions] = []

    @click.command(cls=Command)
    @grouped(
        "size",
        Size,
        section("Size", option("--height", default=2, help="H."), option("--width", type=int)),
    )
    @section("Name", option("--name", help="Name."))
    @options(WorkOptions)
    def work(options: WorkOptions) -> None:
        taken.append(options)

    result = CliRunner().invoke(work, ["--name", "a", "--width", "5"], catch_exceptions=False)

    assert result.exit_code == 0
    assert taken == [WorkOptions(size=Size(height=2, width=5), name="a")]


def test_size_is_one_number_or_two() -> None:
    """Height comes first, as in every shape."""
    assert ImageSize().convert("180,240", None, None) == (180, 240)
    assert ImageSize().convert("320", None, None) == (320, 320)


@pytest.mark.parametrize("wrong", ["", "180x240", "1,2,3", "180,", "-3", "0"])
def test_other_texts_are_refused_as_sizes(wrong: str) -> None:
    """A typing error is reported before anything is loaded."""
    with pytest.raises(click.BadParameter, match="is not a size"):
        ImageSize().convert(wrong, None, None)


def test_names_with_commas_occur_once() -> None:
    """Spaces and an extra comma are accepted."""
    assert NameList().convert("road, car,,road", None, None) == ("road", "car")


def test_a_name_that_is_not_a_choice_is_refused() -> None:
    """The message lists what may be given."""
    with pytest.raises(click.BadParameter, match="'video' is none of mask, overlay"):
        NameList(("mask", "overlay")).convert("mask,video", None, None)


@pytest.mark.parametrize("arguments", [["--file", ""], ["--file", "a", "--file", ""]])
def test_an_empty_path_is_refused(arguments: list[str]) -> None:
    """A variable that is not set would otherwise name the current folder."""

    @click.command(cls=Command)
    @option("--file", type=click.Path(path_type=Path), multiple=True)
    def command(file: tuple[Path, ...]) -> None:
        """Take files."""

    result = CliRunner().invoke(command, arguments)

    assert result.exit_code == 2
    assert "the path is empty" in result.output


@click.command(cls=Command)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@option("--width", default=640, type=click.IntRange(min=1))
@option("--size", "sizes", multiple=True, type=ImageSize())
@option("--name")
@option("--json", "as_json", is_flag=True)
def shrink(**_: object) -> None:
    """Make images smaller."""


def test_program_gets_the_defaults_of_a_command() -> None:
    """There is no second list of them, and a value is converted as that of a command line."""
    assert option_values(shrink, {}) == {
        "paths": (),
        "width": 640,
        "sizes": (),
        "name": None,
        "as_json": False,
    }
    values = option_values(shrink, {"paths": "a.png", "width": 5, "sizes": (3, "4,5")})
    assert values["paths"] == (Path("a.png"),)
    assert values["width"] == 5
    assert values["sizes"] == ((3, 3), (4, 5))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"width": 0}, "--width.*0 is not in the range"),
        ({"widht": 5}, "there is no option 'widht'; known are name, paths, sizes, width"),
        ({"as_json": True}, "there is no option 'as_json'"),
    ],
)
def test_impossible_values_of_a_program_are_refused(given: dict[str, object], reason: str) -> None:
    """As an error of ours: click's is for a command line."""
    with pytest.raises(ConfigError, match=reason):
        option_values(shrink, given, without=("as_json",))
