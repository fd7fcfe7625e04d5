"""Options by which PyTorch runs a checkpoint faster."""

from dataclasses import dataclass
from pathlib import Path

import click

from segdeploy.backends.base import Backend
from segdeploy.commands.grouping import grouped
from segdeploy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Haste:
    """What PyTorch shall do to run faster.

    Attributes:
        autocast: Whether it computes in half precision where that is safe.
        compiled: Whether it compiles the network first.
    """

    autocast: bool = False
    compiled: bool = False

    def apply(self, network: Backend, model: Path) -> None:
        """Make a loaded network faster.

        Raises:
            ConfigError: It is no checkpoint, or the device has no half precision that it is fast with.
            SegdeployError: It cannot be compiled.
        """
        if not (self.autocast or self.compiled):
            return
        if model.suffix != ".pt":
            msg = f"{model} is no checkpoint, and what is exported has its precision; leave --autocast and --compile out"
            raise ConfigError(msg)
        from segdeploy.backends.eager import EagerBackend

        assert isinstance(network, EagerBackend), "that is what runs a checkpoint"
        network.hasten(autocast=self.autocast, compiled=self.compiled)


haste_options = grouped(
    "haste",
    Haste,
    click.option(
        "--autocast", is_flag=True, help="Of a checkpoint: half precision where it is safe; a label in thousands may be another one."
    ),
    click.option("--compile", "compiled", is_flag=True, help="Of a checkpoint: let PyTorch compile it first, which takes minutes."),
)
