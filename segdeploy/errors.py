"""Every error raised on purpose, as a tree, each with the exit code of the command that meets it."""

from collections.abc import Sequence
from typing import Any


class SegdeployError(Exception):
    """Something foreseen went wrong; the message is one sentence that says what to do."""

    exit_code = 1


class DeviceError(SegdeployError):
    """A device or a provider was asked for and is not there."""


class MissingExtraError(SegdeployError):
    """A library is needed that only an extra installs."""

    def __init__(self, library: str, extra: str) -> None:
        """Say which extra brings the library.

        Args:
            library: Name under which the library is imported.
            extra: Name of the extra in setup.cfg, or "" for the package itself.
        """
        target = f"segdeploy[{extra}]" if extra else "segdeploy"
        super().__init__(f"{library} is not installed; run: pip install '{target}'")


class OutputError(SegdeployError):
    """A result cannot be written."""


class ConfigError(SegdeployError):
    """An option, a recipe or an argument has a value that cannot be."""

    exit_code = 2


class DataError(SegdeployError):
    """An image, a mask, a video or a dataset cannot be used."""

    exit_code = 3


class LayoutNotFoundError(DataError):
    """What a layout of a dataset needs is not there at all, so that another layout may be meant."""


class ModelError(SegdeployError):
    """A network, a checkpoint or an artifact cannot be used."""

    exit_code = 4


class CardError(ModelError):
    """A model card is missing, damaged or too new."""


class ExportError(SegdeployError):
    """A network cannot be turned into a file for another runtime."""

    exit_code = 5


class GateError(SegdeployError):
    """A result is there, and is not good enough."""

    exit_code = 6


class ProofError(GateError):
    """An exported file does not answer as PyTorch does."""


class QuantizationError(GateError):
    """Eight bits spoil a network, whatever was tried."""

    def __init__(self, message: str, candidates: Sequence[Any]) -> None:
        """Keep what was tried.

        Args:
            message: One sentence.
            candidates: What was found of each candidate, as the export's own `Trial`.
        """
        super().__init__(message)
        self.candidates = tuple(candidates)


class InterruptedRun(SegdeployError):  # noqa: N818 - an interruption is no error of anybody's
    """The user stopped the work; what was done until then is finished and kept."""

    exit_code = 130
