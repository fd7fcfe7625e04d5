"""Options of commands: headings in `--help`, one value for a command's function, shared types.

A command of segdeploy is declared like this::

    @dataclass(frozen=True, kw_only=True)
    class ShrinkOptions:
        '''Options of the command, by their parameter names.'''

        image: Path
        width: int
        as_json: bool


    @click.command(cls=Command)
    @click.argument("image", type=click.Path(path_type=Path))
    @section("Size", option("--width", default=640, type=click.IntRange(min=1), help="Pixels."))
    @section("Output", option("--json", "as_json", is_flag=True, help="Print JSON."))
    @plugin_option
    @options(ShrinkOptions)
    def shrink(options: ShrinkOptions) -> None:
        '''Make an IMAGE smaller.'''

`--help` shows the headings in the order of the sections, the common ones first and `General` last.
`grouped` builds a part of the options as a value of its own, for example a `Schedule`.
"""

import os
import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segdeploy import assets
from segdeploy.system.plugins import LOADED, load_plugin

GENERAL = "General"
"""Heading of `--plugin`, `--help` and every option without a heading; always the last one."""

TERM_WIDTH = 28
"""Columns of an option's names and its metavar in `--help`; a longer one has a line of its own."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Function = Callable[..., Any]


class Option(click.Option):
    """An option that `--help` lists under a heading, with its default.

    Choices that are too long for the metavar are listed in the help text, where lines break
    between them.

    Attributes:
        heading: Heading in `--help`; set by `section`.
    """

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - click's own
        older: Sequence[str] = (),
        show_default: bool | str = True,
        **settings: Any,  # noqa: ANN401 - click's own
    ) -> None:
        """Declare an option with the arguments of `click.Option`.

        Args:
            arguments: Names of the option and of its parameter.
            older: Names that it had in earlier versions: still accepted, never shown.
            show_default: Whether the default is shown, or the text to show in place of it.
            settings: As `click.Option` takes them.
        """
        settings["show_default"] = show_default
        super().__init__(*arguments, **settings)
        self.heading = GENERAL
        self._older = list(older)
        if isinstance(self.type, click.IntRange | click.FloatRange) and self.metavar is None:
            self.metavar = self.type.name.removesuffix(" range").upper()
        if isinstance(self.type, click.Choice) and self.metavar is None and not self.is_flag:
            self._describe_choices([str(choice) for choice in self.type.choices])

    def _describe_choices(self, choices: Sequence[str]) -> None:
        self.metavar = f"[{'|'.join(choices)}]"
        if len(f"{self.opts[0]} {self.metavar}") > TERM_WIDTH:
            self.metavar = "NAME"
            text = self.help or ""
            if not all(choice in text for choice in choices):
                self.help = f"{text} One of {', '.join(choices)}.".lstrip()

    def add_to_parser(self, parser: "click.parser._OptionParser", ctx: click.Context) -> None:
        """Register the shown and the older names."""
        shown = self.opts
        self.opts = [*shown, *self._older]
        super().add_to_parser(parser, ctx)
        self.opts = shown

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:  # noqa: ANN401 - click's own
        """Return the value converted; an empty path, as of an unset variable, names nothing.

        Raises:
            click.BadParameter: A path is empty.
        """
        values = value if isinstance(value, list | tuple) else (value,)
        if isinstance(self.type, click.Path) and "" in values:
            msg = "the path is empty; name a file or a folder, or leave the option out"
            raise click.BadParameter(msg, ctx=ctx, param=self)
        return super().type_cast_value(ctx, value)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option's names and its help; a descriptive default has no parentheses."""
        record = super().get_help_record(ctx)
        if record is None or not isinstance(self.show_default, str):
            return record
        text = self.show_default
        return record[0], record[1].replace(f"[default: ({text})", f"[default: {text}")


class Formatter(click.HelpFormatter):
    """Writes help whose lines break at spaces only: `street-int8` and `H,W` stay whole."""

    def _wrap(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)

    def write_text(self, text: str) -> None:
        """Write paragraphs, each wrapped at the width."""
        indent = " " * self.current_indent
        paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
        wrapped = (self._wrap(part, self.width - len(indent)) for part in paragraphs)
        self.write("\n\n".join("\n".join(indent + line for line in lines) for lines in wrapped))
        self.write("\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = TERM_WIDTH, col_spacing: int = 2
    ) -> None:
        """Write terms and their descriptions in two columns."""
        rows = list(rows)
        indent = " " * self.current_indent
        column = min(max(len(term) for term, _ in rows), col_max) + col_spacing
        for term, description in rows:
            lines = self._wrap(description, self.width - len(indent) - column) or [""]
            if len(term) + col_spacing > column:
                lines = ["", *lines]
            terms = [term, *[""] * (len(lines) - 1)]
            for first, line in zip(terms, lines, strict=True):
                self.write(f"{indent}{first:{column}}{line}".rstrip() + "\n")


class Context(click.Context):
    """A context whose help is written by `Formatter`."""

    formatter_class = Formatter


class Command(click.Command):
    """A command whose `--help` has its options under headings, in the order of the sections."""

    context_class = Context

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each heading with its options."""
        headings: dict[str, list[tuple[str, str]]] = {}
        general: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None or isinstance(param, click.Argument):
                continue
            heading = param.heading if isinstance(param, Option) else GENERAL
            (general if heading == GENERAL else headings.setdefault(heading, [])).append(record)
        for heading, rows in [*headings.items(), (GENERAL, general)]:
            with formatter.section(heading):
                formatter.write_dl(rows)


def option(*names: str, **settings: Any) -> Callable[[F], F]:  # noqa: ANN401 - click's own
    """Return a decorator that adds an `Option` to a command; it takes what `Option` takes."""
    return click.option(*names, cls=Option, **settings)


def _params_of(decorators: Sequence[Callable[[Function], Function]]) -> list[click.Parameter]:
    """Return the parameters that decorators add, in click's order, which is the reverse."""

    def bare() -> None:
        """Hold the parameters."""

    params: list[click.Parameter] = []
    for decorator in reversed(decorators):
        params = decorator(bare).__click_params__  # type: ignore[attr-defined]
    return params


def _add_params(params: Sequence[click.Parameter]) -> Callable[[F], F]:
    """Return a decorator that adds parameters, in click's order, to a command."""

    def decorate(command: F) -> F:
        params_before = getattr(command, "__click_params__", [])
        command.__click_params__ = [*params_before, *params]  # type: ignore[attr-defined]
        return command

    return decorate


def section(heading: str, *decorators: Callable[[Function], Function]) -> Callable[[F], F]:
    """Return a decorator that adds options to a command, under a heading of its `--help`.

    Args:
        heading: Such as "Dataset"; commands name equal topics alike.
        decorators: What `option` or `click.argument` returned.
    """
    params = _params_of(decorators)
    for param in params:
        if isinstance(param, Option):
            param.heading = heading
    return _add_params(params)


def grouped(
    name: str, make: Callable[..., object], *decorators: Callable[[Function], Function]
) -> Callable[[Function], Function]:
    """Return a decorator that adds options to a command, which receives them as one value.

    Args:
        name: Parameter of the command that takes the value.
        make: Builds the value from the options, by their parameter names; a `SegdeployError` that
            it raises is the command's.
        decorators: What `option`, `click.argument` or `section` returned.
    """
    params = _params_of(decorators)
    keys = [param.name for param in params if param.expose_value]

    def decorate(command: Function) -> Function:
        @wraps(command)
        def call(**values: object) -> object:
            own = {key: values.pop(key) for key in keys if key is not None}
            return command(**values, **{name: make(**own)})

        return _add_params(params)(call)

    return decorate


def options(make: Callable[..., T]) -> Callable[[Callable[[T], None]], Callable[..., None]]:
    """Return a decorator by which a command's function takes all options as one value.

    It stands directly above the function, below the options.

    Args:
        make: A frozen dataclass with a field for each parameter; or any function that builds the
            value from them, by their names.
    """

    def decorate(command: Callable[[T], None]) -> Callable[..., None]:
        @wraps(command)
        def call(**values: object) -> None:
            command(make(**values))

        return call

    return decorate


class Artifact(click.Path):
    """The path of an artifact, or the name of a bundled model (a key of `assets.FILES`)."""

    def __init__(self) -> None:
        """Accept any path: the loader's message on a missing file says more than click's."""
        super().__init__(path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Return the path that a text names; a path is returned as it is.

        Raises:
            ModelError: It names a bundled model, and this installation has none.
        """
        text = assets.locate(value) if isinstance(value, str) else value
        path = super().convert(text, param, ctx)
        assert isinstance(path, Path), "path_type makes it one"
        return path


if TYPE_CHECKING:
    Pair = click.ParamType[tuple[int, int]]
    Names = click.ParamType[tuple[str, ...]]
else:
    # Up to click 8.3 the class takes no type.
    Pair = Names = click.ParamType


class ImageSize(Pair):
    """A height and a width in pixels, for example "180,240", or a number for both."""

    name = "H,W"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return the height and width in a text; a pair is returned as it is."""
        if isinstance(value, tuple):
            return value
        sides = [int(side) if side.strip().isdecimal() else 0 for side in str(value).split(",")]
        if len(sides) not in {1, 2} or min(sides) < 1:
            self.fail(
                f"{value!r} is not a size; write height,width in pixels, for example 360,480, or"
                " one number for both",
                param,
                ctx,
            )
        return sides[0], sides[-1]


class NameList(Names):
    """Names separated by commas, as in "road,car", each once."""

    name = "NAME,NAME"

    def __init__(self, choices: Sequence[str] = ()) -> None:
        """Accept some names only, or any where there are no choices."""
        self._choices = choices

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names in a text; a tuple is returned as it is."""
        if isinstance(value, tuple):
            return value
        names = dict.fromkeys(name.strip() for name in str(value).split(",") if name.strip())
        for name in names:
            if self._choices and name not in self._choices:
                self.fail(f"{name!r} is none of {', '.join(self._choices)}", param, ctx)
        return tuple(names)


def load_plugins(_context: click.Context, _option: click.Parameter, names: Sequence[str]) -> None:
    """Load the modules of `--plugin`, before any other option is read."""
    for name in names:
        load_plugin(name)


def same_plugins() -> list[str]:
    """Return the options with which another command loads the plugins of this one."""
    return [word for name in LOADED for word in ("--plugin", name)]


plugin_option = option(
    "--plugin",
    multiple=True,
    metavar="MODULE",
    expose_value=False,
    is_eager=True,
    callback=load_plugins,
    help="Module or .py file that registers your own networks or datasets; may be repeated.",
)
"""Adds `--plugin`, which is not passed to the command's function."""


def json_option(what: str) -> Callable[[F], F]:
    """Return a decorator that adds `--json`, parameter `as_json`; its help says what is printed."""
    return option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON.")


device_option = option(
    "--device", default="auto", help="Device to run on: auto, cpu, cuda or cuda:N."
)

trust_option = option(
    "--trust",
    is_flag=True,
    help="Load a .torchscript or .pt2 file as it is, also with operators that run code or write"
    " files.",
)
"""Adds `--trust`, which every command has that loads an artifact."""

dataset_options = section(
    "Dataset",
    option(
        "--dataset",
        show_default="the one that the model was trained on",
        help="Name of the dataset.",
    ),
    option(
        "--data",
        type=click.Path(path_type=Path),
        show_default="the folder that the model was trained on",
        help="Folder of the dataset.",
    ),
)

SPLIT_HELP = "Split of the dataset; all is every image."

split_options = section("Dataset", option("--split", default="val", help=SPLIT_HELP))
