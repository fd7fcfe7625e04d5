"""What one request, and all requests together, may take: bytes, pixels, time, places."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from segdeploy.errors import RequestError

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a server.

    Attributes:
        body: Bytes of a request that is held in memory: an image, or tensors.
        video: Bytes of a video, which is held in a temporary file.
        held: Bytes of all requests that are held in memory at the same time.
        pixels: Pixels of an image, or of a frame.
        queue: Requests that wait for a worker.
        videos: Videos that are segmented at the same time.
        connections: Open connections.
        read_seconds: Seconds in which a request must have arrived, its head and then its body.
        seconds: Seconds from the arrival of a request until it is given up.
        frames: Frames of one video.
    """

    body: int = 32 * MIB
    video: int = 1024 * MIB
    held: int = 512 * MIB
    pixels: int = 50_000_000
    queue: int = 64
    videos: int = 2
    connections: int = 1024
    read_seconds: float = 30
    seconds: float = 60
    frames: int = 100_000


class Held:
    """The bytes that one request holds."""

    def __init__(self, memory: "Memory") -> None:
        """Start with none."""
        self._memory = memory
        self.bytes = 0

    def add(self, count: int) -> None:
        """Hold more bytes.

        Raises:
            RequestError: All requests together would hold too many.
        """
        self._memory.take(count)
        self.bytes += count


class Memory:
    """The bytes that all requests hold together; used by one thread."""

    def __init__(self, most: int) -> None:
        """Start with none held.

        Args:
            most: Largest number of bytes.
        """
        self._most = most
        self.bytes = 0

    def take(self, count: int) -> None:
        """Count bytes as held.

        Raises:
            RequestError: They are too many.
        """
        if self.bytes + count > self._most:
            msg = (
                f"the requests under way hold {self.bytes // MIB} MiB, of {self._most // MIB} MiB"
                " at most; send the request again in a second"
            )
            raise RequestError(msg, status=503, retry_after=1)
        self.bytes += count

    @contextmanager
    def hold(self) -> Iterator[Held]:
        """Yield what counts the bytes of one request, which are free again after the block."""
        held = Held(self)
        try:
            yield held
        finally:
            self.bytes -= held.bytes
