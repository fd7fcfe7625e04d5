"""Reading ahead: the next items are made in a thread while the current one is worked on."""

from collections.abc import Iterable, Iterator
from threading import Thread
from typing import Generic, Self, TypeVar

from segdeploy.video.channel import Channel

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """The items of an iterable, in order, taken from it by a thread; a context manager, whose end stops the thread."""

    def __init__(self, items: Iterable[T], *, depth: int) -> None:
        """Prepare the thread; it starts with the block.

        Args:
            items: What is read, once, and only by the thread.
            depth: How many items may wait.
        """
        self._items = items
        self._channel: Channel[T] = Channel(depth)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._read, name="segdeploy-read-ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[T]:
        """Give the items; what the iterable raised is raised after the last item before it."""
        yield from self._channel
        if self._error is not None:
            raise self._error

    def __exit__(self, *_: object) -> None:
        self._channel.drop()
        self._thread.join()

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._channel.put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are taken
            self._error = error
        finally:
            self._channel.close()
