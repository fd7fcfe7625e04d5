"""One variant of an artifact: runtime, device, threads, batch and input size."""

from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from segdeploy.backends.base import Backend, WrappedBackend
from segdeploy.backends.loading import load_backend
from segdeploy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What to run, and how.

    Attributes:
        artifact: Path of the file.
        backend: Kind of runtime, or "auto".
        device: Requested device, or "auto".
        threads: Threads of the network; None for one per core.
        batch: Images per call of the network.
        size: Height and width of the network's input, in pixels; None for the artifact's own.
        peer: Name of the peer that runs it; "" for segdeploy itself.
    """

    artifact: str
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    batch: int = 1
    size: tuple[int, int] | None = None
    peer: str = ""

    def load(self) -> Backend:
        """Load the artifact, at the requested input size.

        Raises:
            SegdeployError: It cannot be used, or not at that size.
        """
        return self._resized(
            load_backend(
                Path(self.artifact), backend=self.backend, device=self.device, threads=self.threads
            )
        )

    def load_for_video(self, threads: int | None, *, callers: int) -> Backend:
        """Load the artifact as the video pipeline does.

        Idle threads do not spin, so that their core is free for the other stages.

        Args:
            threads: Threads of the network.
            callers: Number of threads that call the backend.

        Raises:
            SegdeployError: It cannot be used, or not at the requested input size.
        """
        backend = load_backend(
            Path(self.artifact),
            backend=self.backend,
            device=self.device,
            threads=threads,
            spinning=False,
            callers=callers,
        )
        return self._resized(backend)

    def _resized(self, backend: Backend) -> Backend:
        """Return a backend whose card has the requested input size."""
        spec = backend.card.input
        if self.size is None or self.size == (spec.height, spec.width):
            return backend
        height, width = self.size
        if not spec.dynamic or height % spec.stride or width % spec.stride:
            allowed = (
                f"multiples of {spec.stride}"
                if spec.dynamic
                else f"{spec.height}x{spec.width}; export it with --dynamic"
            )
            msg = f"{self.artifact} cannot be run at {height}x{width}: its input must be {allowed}"
            raise ConfigError(msg)
        resized = replace(backend.card, input=replace(spec, height=height, width=width))
        return WrappedBackend(backend, card=resized)
