"""Every error raised on purpose, each with the exit code of a command that it ends.

Some are errors of Python too (ValueError, FileNotFoundError, ImportError), for programs that expect
these. A block that catches those of Python lets ours pass: see `read_json`.
"""

from collections.abc import Sequence
from typing import Any

from segdeploy.installation import find_installation


class SegdeployError(Exception):
    """The base of all errors of the package; the message is one sentence that says what to do."""

    exit_code = 1


class DeviceError(SegdeployError):
    """A device or an execution provider is not available."""


class MissingExtraError(SegdeployError, ImportError):
    """A library is missing that only an extra installs."""

    def __init__(self, library: str, extra: str) -> None:
        """Say which extra installs the library.

        Args:
            library: Name under which the library is imported.
            extra: Name of the extra in setup.cfg, or "" for the package itself.
        """
        super().__init__(f"{library} is not installed; run: {find_installation().command(extra)}")


class OutputError(SegdeployError):
    """A result cannot be written."""


class WorkerError(SegdeployError):
    """A process that works for this one ended before its work was done."""


class ConfigError(SegdeployError, ValueError):
    """An option, a recipe or an argument has an impossible value."""

    exit_code = 2


class DataError(SegdeployError):
    """An image, a mask, a video or a dataset cannot be used."""

    exit_code = 3


class ImageError(DataError, ValueError):
    """An argument is not an image: an array of another shape or type, for example."""


class MissingFileError(DataError, FileNotFoundError):
    """There is no file or folder of data at a path."""


class LayoutNotFoundError(DataError):
    """The files of a dataset's layout are missing altogether, so it may have another layout."""


class ModelError(SegdeployError):
    """A network, a checkpoint or an artifact cannot be used."""

    exit_code = 4


class MissingModelError(ModelError, FileNotFoundError):
    """There is no file of a network at a path."""


class UntrustedError(ModelError):
    """A file holds something that could run code, write files or run for ever.

    Attributes:
        what: What it holds.
    """

    def __init__(self, path: object, what: str) -> None:
        """Name the file and what it holds.

        Args:
            path: The file.
            what: For example "the operator 'aten::save'".
        """
        self.what = what
        super().__init__(
            f"{path} holds {what}, which is not on the list of what a network may execute, and was"
            " not loaded; use files that 'segdeploy export' wrote, or --trust if you know who"
            " made it"
        )


class CardError(ModelError):
    """A model card is missing, damaged or too new."""


class ExportError(SegdeployError):
    """A network cannot be exported to a file for another runtime."""

    exit_code = 5


class GateError(SegdeployError):
    """A result does not pass a gate."""

    exit_code = 6


class ProofError(GateError):
    """The output of an exported file is not that of PyTorch."""


class QuantizationError(GateError):
    """No int8 candidate of a network is accurate enough.

    Attributes:
        candidates: What was measured of each, as `Int8Candidate` of the export.
    """

    def __init__(self, message: str, candidates: Sequence[Any]) -> None:
        """Keep the candidates for the message's table.

        Args:
            message: One sentence.
            candidates: What was measured of each candidate.
        """
        super().__init__(message)
        self.candidates = tuple(candidates)


class InterruptedRun(SegdeployError):  # noqa: N818 - an interruption is not an error
    """The user stopped the run; what was done until then is complete and kept."""

    exit_code = 130


class RequestError(SegdeployError):
    """A request to the server is refused.

    Attributes:
        status: Status code of HTTP.
        retry_after: Seconds after which the same request may be accepted; None where it never is.
    """

    def __init__(self, message: str, *, status: int, retry_after: int | None = None) -> None:
        """Keep what the response says beside the message.

        Args:
            message: One sentence.
            status: Status code of HTTP, 400 to 599.
            retry_after: Seconds after which the client may try again.
        """
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class CancelledRequest(SegdeployError):  # noqa: N818 - a client that left is not an error
    """The client left before its request was done."""
