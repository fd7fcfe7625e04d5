"""Writing behind: finished items are written in a thread while the next one is worked on."""

from collections.abc import Callable
from threading import Thread
from types import TracebackType
from typing import Generic, Self, TypeVar

from segdeploy.video.channel import Channel

T = TypeVar("T")


class WriteBehind(Generic[T]):
    """Hands items, in order, to a function in a thread; a context manager, at whose end all of them are written."""

    def __init__(self, write: Callable[[T], None], *, depth: int) -> None:
        """Prepare the thread; it starts with the block.

        Args:
            write: Called with one item after the other, only by the thread.
            depth: How many items may wait.
        """
        self._write = write
        self._channel: Channel[T] = Channel(depth)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="segdeploy-write-behind", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def put(self, item: T) -> None:
        """Hand over an item; raises what the function raised on an earlier one."""
        if not self._channel.put(item):
            self._thread.join()
            assert self._error is not None
            raise self._error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Wait until all items are written, also after an error in the block, which then is the one that counts."""
        self._channel.close()
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for item in self._channel:
                self._write(item)
        except BaseException as error:  # noqa: BLE001 - it is raised where the items come from
            self._error = error
        finally:
            self._channel.drop()
