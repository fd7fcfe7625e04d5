"""The option `--tuned`: settings that `segdeploy tune` chose, as defaults of other options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from segdeploy.cli.console import note
from segdeploy.cli.options import option, section

F = TypeVar("F", bound=Callable[..., Any])


def tuned_option(*same: str, **names: str) -> Callable[[F], F]:
    """Return the option `--tuned` of a command; options that are given as well take precedence.

    Args:
        same: Settings that the command takes, whose parameters are called like them: model (or
            models, a list), throughput (or schedule, of a server), threads, batch, every, preset.
        names: The parameter of each setting that is called otherwise.
    """
    names = {**{name: name for name in same}, **names}

    def load(context: click.Context, _option: click.Parameter, path: Path | None) -> None:
        if path is None:
            return
        # Only with the option are the file and the machine looked at.
        from segdeploy.inference.tuned import here, read_tuned

        tuned, model = read_tuned(path)
        if difference := tuned.difference(*here()):
            note(f"warning: {difference}")
        chosen = tuned.settings
        values = {
            "model": str(model),
            "models": [str(model)],
            "throughput": chosen.mode == "throughput",
            "schedule": "cores" if chosen.mode == "throughput" else "batch",
            "threads": str(chosen.threads),
            "batch": str(chosen.batch),
            "every": str(chosen.every),
            "preset": chosen.preset or None,
        }
        defaults = {names[key]: value for key, value in values.items() if key in names}
        given = {key: value for key, value in defaults.items() if value is not None}
        context.default_map = {**(context.default_map or {}), **given}

    return section(
        "Model",
        option(
            "--tuned",
            type=click.Path(path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=load,
            help="A tuned.toml of 'segdeploy tune': its model and settings become the defaults.",
        ),
    )
