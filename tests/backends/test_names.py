"""Names that options take before any runtime is imported are those of the runtimes."""

from segdeploy.backends.loading import KINDS
from segdeploy.backends.names import BACKENDS


def test_every_runtime_can_be_named() -> None:
    """A runtime that `--backend` does not take could not be asked for."""
    assert ("auto", *(kind.name for kind in KINDS.values())) == BACKENDS
