"""Option types and groups shared by commands."""

import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segdeploy import assets as box
from segdeploy.cli.console import note
from segdeploy.system.plugins import LOADED, load_plugin

AVX2 = 11
"""Of OpenCV's `CpuFeatures`, which Python is given without their names; it knows the processor on
every system."""


class RenamedOption(click.Option):
    """An option that had other names: they are still understood, and no longer shown.

    Give them as `older=("--pictures",)` to `click.option(..., cls=RenamedOption)`.
    """

    def __init__(self, *arguments: Any, older: Sequence[str], **settings: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **settings)
        self._older = list(older)

    def add_to_parser(self, parser: "click.parser._OptionParser", ctx: click.Context) -> None:
        """Let the parser know all names."""
        shown = self.opts
        self.opts = [*shown, *self._older]
        super().add_to_parser(parser, ctx)
        self.opts = shown


class Artifact(click.Path):
    """The path of an artifact; a name of `box.FILES` stands for the file that the package carries."""

    def __init__(self) -> None:
        """Take paths, whether or not there is a file.

        Whoever opens it says more than that it is missing.
        """
        super().__init__(path_type=Path)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        """Read the text; a value that is already a path passes.

        Raises:
            ModelError: It names a network in the box, and this copy of the package carries none.
        """
        path = super().convert(box.locate(value) if isinstance(value, str) else value, param, ctx)
        assert isinstance(path, Path), "that is what path_type asks for"
        return path


def boxed(device: str) -> Path:
    """Return the network in the box that suits a device, and say which it is and on what terms.

    Args:
        device: As `--device` has it.

    Raises:
        ModelError: This copy of the package carries none.
        DeviceError: There is no such device.
    """
    # It imports ONNX Runtime, which nobody needs who named a checkpoint.
    import cv2

    from segdeploy.backends.onnx_runtime import CPU, request

    name = box.suited(
        on_processor=request(device) == [CPU], has_avx2=cv2.checkHardwareSupport(AVX2)
    )
    path = box.find(name, box.folder())
    note(
        f"no --model, so {name}, which the package carries: {box.TERMS}; see segdeploy inspect"
        f" {name}"
    )
    return path


Function = Callable[..., Any]


def grouped(
    name: str, make: Callable[..., object], *options: Callable[[Function], Function]
) -> Callable[[Function], Function]:
    """Return a decorator that adds options to a command, which receives them as one value.

    Args:
        name: Under which the command takes the value.
        make: Makes the value of what was typed, by the options' own names; its SegdeployError is
            the command's.
        options: What `click.option` gave.
    """

    def bare() -> None:
        """Hold the options, so that click tells their names."""

    params: list[click.Parameter] = []
    for option in reversed(options):
        params = option(bare).__click_params__  # type: ignore[attr-defined]
    keys = [param.name for param in params]

    def decorate(command: Function) -> Function:
        @wraps(command)
        def call(**values: object) -> object:
            return command(
                **{key: value for key, value in values.items() if key not in keys},
                **{name: make(**{key: values[key] for key in keys})},
            )

        call.__click_params__ = [*getattr(command, "__click_params__", []), *params]  # type: ignore[attr-defined]
        return call

    return decorate


F = TypeVar("F", bound=Callable[..., Any])


def load_all(_context: click.Context, _option: click.Parameter, names: Sequence[str]) -> None:
    """Load what was named, before any other option is looked at."""
    for name in names:
        load_plugin(name)


def same_plugins() -> list[str]:
    """Return the options by which a further command loads what this one has loaded."""
    return [word for name in LOADED for word in ("--plugin", name)]


def plugin_option(command: F) -> F:
    """Return a command the option `--plugin MODULE`; its function learns nothing of it."""
    option = click.option(
        "--plugin",
        multiple=True,
        metavar="MODULE",
        expose_value=False,
        is_eager=True,
        callback=load_all,
        help=(
            "Module, or .py file, that registers networks or datasets of your own; may be given"
            " more than once."
        ),
    )
    return option(command)


if TYPE_CHECKING:
    Pair = click.ParamType[tuple[int, int]]
else:
    # Up to click 8.3 the class takes no type.
    Pair = click.ParamType


class ImageSize(Pair):
    """A height and a width in pixels, as in "180,240", or one number for both."""

    name = "H,W"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read the text; a value that is already a pair passes."""
        if isinstance(value, tuple):
            return value
        sides = [int(side) if side.strip().isdecimal() else 0 for side in str(value).split(",")]
        if len(sides) not in {1, 2} or min(sides) < 1:
            self.fail(
                f"{value!r} is no size; write height,width in pixels, for example 360,480, or one"
                " number for both",
                param,
                ctx,
            )
        return sides[0], sides[-1]
