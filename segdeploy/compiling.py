"""PyTorch's compiler, which works within the first steps and needs a compiler of the system's beside it."""

from collections.abc import Iterator
from contextlib import contextmanager

from segdeploy.errors import SegdeployError


@contextmanager
def compiling(network: str) -> Iterator[None]:
    """Say in one sentence what PyTorch's compiler stumbles over in the block.

    Args:
        network: Name of what is compiled.

    Raises:
        SegdeployError: It cannot be compiled.
    """
    # Who does not compile need not wait for this import.
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = str(error).partition("\n")[0]
        msg = f"PyTorch cannot compile {network} here ({reason}); install a C++ compiler if that is missing, or leave --compile out"
        raise SegdeployError(msg) from error
