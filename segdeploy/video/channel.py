"""What one thread hands to another: a bounded queue that either side can close."""

from collections import deque
from collections.abc import Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """Items in order; whoever puts waits for room, whoever takes waits for an item."""

    def __init__(self, depth: int) -> None:
        """Start empty and open.

        Args:
            depth: How many items may wait, so that memory stays bounded.
        """
        self._items: deque[T] = deque()
        self._depth = depth
        self._closed = False
        self._changed = Condition()

    def put(self, item: T) -> bool:
        """Hand an item over, and tell whether the channel was still open to take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()
            return not self._closed

    def close(self) -> None:
        """Take no more items; those that wait can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drop(self) -> None:
        """Close, and forget the items that wait."""
        with self._changed:
            self._items.clear()
            self.close()

    def __iter__(self) -> Iterator[T]:
        """Take items until the channel is closed and empty."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._items)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
