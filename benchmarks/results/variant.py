"""One way to run one artifact."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from segdeploy.backends.base import Backend, Batch, NetworkOutput
from segdeploy.backends.loading import load_backend
from segdeploy.card import ModelCard
from segdeploy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What to run, and how.

    Attributes:
        artifact: The file.
        backend: Kind of runtime, or "auto".
        device: Device asked for, or "auto".
        threads: Threads of the network; None for as many as there are cores.
        batch: How many images the network is given at once.
        size: Height and width of the network's input, in pixels; None for the artifact's own.
        peer: Whose loop runs it; "" for ours.
    """

    artifact: str
    backend: str = "auto"
    device: str = "auto"
    threads: int | None = None
    batch: int = 1
    size: tuple[int, int] | None = None
    peer: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave, through JSON or not."""
        return cls(
            **{
                **values,
                "size": (
                    None
                    if values["size"] is None
                    else (int(values["size"][0]), int(values["size"][1]))
                ),
            }
        )

    def load(self) -> Backend:
        """Load the artifact, at the size that was asked for.

        Raises:
            SegdeployError: It cannot be used, or not at that size.
        """
        return self.sized(
            load_backend(
                Path(self.artifact), backend=self.backend, device=self.device, threads=self.threads
            )
        )

    def load_for_video(self, threads: int | None, *, callers: int) -> Backend:
        """Load the artifact as a pipeline does.

        Idle threads leave their core to the other stages, and several threads call it.

        Raises:
            SegdeployError: It cannot be used, or not at that size.
        """
        path = Path(self.artifact)
        loaded = load_backend(
            path,
            backend=self.backend,
            device=self.device,
            threads=threads,
            spinning=False,
            callers=callers,
        )
        return self.sized(loaded)

    def sized(self, backend: Backend) -> Backend:
        """Return a backend whose usual size is the one that was asked for.

        Raises:
            ConfigError: The artifact has another, fixed size, or the size does not fit its stride.
        """
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
        return Resized(backend, self.size)


class Resized:
    """A backend of dynamic size whose card says another size."""

    def __init__(self, backend: Backend, size: tuple[int, int]) -> None:
        """Wrap a backend.

        Args:
            backend: It answers images of any size that its stride divides.
            size: Height and width, in pixels.
        """
        self._backend = backend
        self._card = replace(
            backend.card, input=replace(backend.card.input, height=size[0], width=size[1])
        )

    @property
    def card(self) -> ModelCard:
        """The card with the size in it."""
        return self._card

    @property
    def device(self) -> str:
        """What runs it."""
        return self._backend.device

    def run(self, batch: Batch) -> NetworkOutput:
        """Answer a batch."""
        return self._backend.run(batch)
