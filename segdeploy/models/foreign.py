"""Networks of other libraries and of users' own code: whatever wraps their logits is taken off."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from segdeploy.errors import ConfigError, ModelError
from segdeploy.system.plugins import LOADED

KEYS = ("out", "logits")
"""Keys of the logits in the mappings that networks of torchvision and transformers return."""


@contextmanager
def offline() -> Iterator[None]:
    """Let nothing inside the block ask Hugging Face's hub: what would do so raises an OSError."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


class LogitsModule(nn.Module):
    """A network that returns its logits as a tensor, whatever they were wrapped in.

    Attributes:
        stride: Number of which height and width must be multiples.
        fixed_size: Height and width of the only images that it takes; None for any size.
    """

    def __init__(self, network: nn.Module, *, stride: int = 1) -> None:
        """Wrap a network.

        Args:
            network: Returns logits as a tensor, as the first of several, or in a mapping.
            stride: Number of which height and width must be multiples.
        """
        super().__init__()
        self.network = network
        self.stride = stride
        self.fixed_size: tuple[int, int] | None = None

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, K, h, w) logits of (N, 3, H, W) normalized images."""
        return find_logits(self.network(image))


def find_logits(output: object) -> Tensor:
    """Return the logits in the output of a network.

    Raises:
        ModelError: There are none.
    """
    if isinstance(output, Mapping):
        output = next((output[key] for key in KEYS if key in output), output)
    if isinstance(output, list | tuple) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 4:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        msg = (
            f"the network returns {shape} and not logits of shape (N, K, h, w); wrap it in a module"
            " that does"
        )
        raise ModelError(msg)
    return output


def code_module(member: str) -> str | None:
    """Return the module of "MODULE.CLASS", if `--plugin` or `--code` loaded it; else None."""
    module = member.rpartition(".")[0]
    loaded = {Path(name).stem if name.endswith(".py") else name for name in LOADED}
    return module if module in loaded else None


def build(member: str, classes: int, **arguments: Any) -> nn.Module:  # noqa: ANN401, ARG001
    """Build a network of a user's own code, from its arguments alone.

    Args:
        member: "MODULE.CLASS", whose module `--plugin` or `--code` loaded.
        classes: Not passed on: only its authors know how their class takes it.
        arguments: Arguments of the class.

    Raises:
        ConfigError: Nothing loaded that module, it has no such class, or the class fails.
    """
    module, name = code_module(member), member.rpartition(".")[2]
    builder = getattr(sys.modules.get(module or ""), name, None)
    if not callable(builder):
        msg = f"there is no {name} in a loaded module; name its file with --plugin FILE.py"
        raise ConfigError(msg)
    # A user's own code raises anything.
    try:
        network = builder(**arguments)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        msg = (
            f"{name} cannot be built with {arguments} ({reason}); give what it needs with"
            " --argument KEY=VALUE"
        )
        raise ConfigError(msg) from error
    if not isinstance(network, nn.Module):
        msg = f"{name} returns {type(network).__name__} and no nn.Module; name another class"
        raise ConfigError(msg)
    stride = getattr(network, "stride", 1)
    return LogitsModule(network, stride=stride if isinstance(stride, int) else 1)
