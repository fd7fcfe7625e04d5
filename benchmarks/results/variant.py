"""What a row measures: a variant of an artifact, and the loaded system under test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from segdeploy.arrays import Image, Mask
from segdeploy.backends.base import Backend, WrappedBackend
from segdeploy.backends.loading import load_backend
from segdeploy.card import ModelCard
from segdeploy.errors import ConfigError
from segdeploy.imaging.preprocess import to_batch
from segdeploy.inference.predictor import Predictor
from segdeploy.system.machine import cores

from .row import Setting


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What to run, and how.

    Attributes:
        artifact: Path of the file.
        backend: Kind of runtime, or "auto".
        device: Requested device, or "auto".
        trust: Whether the file is loaded as it is; see `RuntimeOptions`.
        threads: Threads of the network; None for one per core.
        batch: Images per call of the network.
        size: Height and width of the network's input, in pixels; None for the artifact's own.
        peer: Name of the peer that runs it; "" for segdeploy itself.
    """

    artifact: str
    backend: str = "auto"
    device: str = "auto"
    trust: bool = False
    threads: int | None = None
    batch: int = 1
    size: tuple[int, int] | None = None
    peer: str = ""

    def load(self) -> Backend:
        """Load the artifact, at the requested input size.

        Each variant is measured in a process of its own, which may crash.

        Raises:
            SegdeployError: It cannot be used, or not at that size.
        """
        return self.resized(
            load_backend(
                Path(self.artifact),
                backend=self.backend,
                device=self.device,
                threads=self.threads,
                trust=self.trust,
                probe=False,
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
            trust=self.trust,
            probe=False,
        )
        return self.resized(backend)

    def resized(self, backend: Backend) -> Backend:
        """Return a backend whose card has the requested input size.

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
        resized = replace(backend.card, input=replace(spec, height=height, width=width))
        return WrappedBackend(backend, card=resized)


@dataclass(frozen=True, kw_only=True)
class SystemUnderTest:
    """A loaded network and the code around it.

    Attributes:
        setting: What runs, as it was granted.
        card: The network's card; None for a peer with a network of its own, whose weights are
            random and whose masks are not scored.
        masks: Returns the mask of each image, of the image's own size.
        prepare: Returns the input of `infer` for some images.
        infer: Runs the network alone.
    """

    setting: Setting
    card: ModelCard | None
    masks: Callable[[Sequence[Image]], Sequence[Mask]]
    prepare: Callable[[Sequence[Image]], Any]
    infer: Callable[[Any], object]


def predictor_system(backend: Backend, variant: Variant) -> SystemUnderTest:
    """Return an artifact as `Predictor` runs it."""
    card = backend.card
    setting = Setting(
        architecture=card.architecture,
        precision=card.precision,
        input=(card.input.height, card.input.width),
        device=backend.device,
        threads=variant.threads or cores(),
        batch=variant.batch,
    )
    return SystemUnderTest(
        setting=setting,
        card=card,
        masks=Predictor(backend).masks,
        prepare=lambda images: to_batch(images, card.input),
        infer=backend.run,
    )
