"""Predictor: images -> masks; `segdeploy.load`, Result."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segdeploy.arrays import Image, Mask
from segdeploy.assets import locate
from segdeploy.backends.base import Backend
from segdeploy.backends.loading import load_backend
from segdeploy.card import LabelClass, ModelCard
from segdeploy.imaging.io import check_image, read_image, write_image
from segdeploy.imaging.overlay import Painter
from segdeploy.imaging.polygons import Polygon, polygons
from segdeploy.imaging.postprocess import output_to_mask
from segdeploy.imaging.preprocess import to_batch


class Predictor:
    """A loaded network together with the way of an image into it and of its mask out of it."""

    def __init__(self, backend: Backend) -> None:
        """Wrap a loaded network.

        Args:
            backend: What answers batches of images.
        """
        self._backend = backend

    @property
    def card(self) -> ModelCard:
        """The card of the network."""
        return self._backend.card

    def mask(self, picture: Image) -> Mask:
        """Return the class of every pixel of one image, (H, W) uint8, at the image's own size; see `masks`."""
        return self.masks([picture])[0]

    def masks(self, images: Sequence[Image]) -> list[Mask]:
        """Return the masks of images of any sizes, each at its image's own size, with one call of the network.

        Args:
            images: (H, W, 3) uint8 each, blue-green-red.

        Raises:
            DataError: One is something else.
        """
        if not images:
            return []
        for picture in images:
            check_image(picture)
        spec = self.card.input
        answers = self._backend.run(to_batch(images, spec))
        sizes = [picture.shape[:2] for picture in images]
        return [
            output_to_mask(answers[n : n + 1], spec, height=height, width=width)
            for n, (height, width) in enumerate(sizes)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """An image and its mask.

    Attributes:
        image: (H, W, 3) uint8, blue-green-red.
        mask: Class of every pixel, (H, W) uint8.
        classes: What the mask's indices mean.
    """

    picture: Image
    mask: Mask
    classes: tuple[LabelClass, ...]

    def overlay(self, *, opacity: float = 0.5, legend: bool = True) -> Image:
        """Return the image with the classes' colors over it, (H, W, 3) uint8 blue-green-red.

        Args:
            opacity: Share of the colors, in [0, 1].
            legend: Whether the classes' names stand in the corner.
        """
        return Painter(self.classes, opacity=opacity, legend=legend).paint(self.picture, self.mask)

    def polygons(self) -> list[Polygon]:
        """Return the outline of every region, with its class and its holes."""
        return polygons(self.mask, len(self.classes))

    def save(self, path: Path | str) -> None:
        """Write the overlay; the ending tells the format.

        Raises:
            OutputError: It cannot be written.
        """
        write_image(Path(path), self.overlay())

    def save_mask(self, path: Path | str) -> None:
        """Write the mask as gray values, the index of a class each; .png keeps them.

        Raises:
            OutputError: It cannot be written.
        """
        write_image(Path(path), self.mask)


class Network:
    """A loaded network that is called with images."""

    def __init__(self, predictor: Predictor, device: str) -> None:
        """Wrap a predictor.

        Args:
            predictor: Gives masks.
            device: What runs it, as it was granted.
        """
        self._predictor = predictor
        self.device = device

    @property
    def card(self) -> ModelCard:
        """What the network is: classes, input, training, proof."""
        return self._predictor.card

    def __call__(self, image: Image | Path | str) -> Result:
        """Segment one image at its own size.

        Args:
            image: (H, W, 3) uint8, blue-green-red as OpenCV reads it, or the path of an image.

        Raises:
            DataError: The path names no image, or the array is none.
        """
        picture = read_image(Path(image)) if isinstance(image, Path | str) else image
        return Result(
            picture=picture, mask=self._predictor.mask(picture), classes=self.card.classes
        )


def load(path: Path | str, *, device: str = "auto", threads: int | None = None) -> Network:
    """Load an artifact of any kind, for example `segdeploy.load("best.onnx")("street.jpg").overlay()`.

    Args:
        path: What `segdeploy train` or `segdeploy export` wrote, or "street" or "street-int8",
            which the package carries.
        device: "auto", "cpu", "cuda" or "cuda:n"; what was granted is in `.device`.
        threads: Threads of one operation; all allowed cores where None.

    Raises:
        ModelError: The file is missing, of an unknown kind, or damaged.
        DeviceError: The device was asked for and not granted.
        MissingExtraError: The runtime's library is not installed.
    """
    backend = load_backend(locate(path), device=device, threads=threads)
    return Network(Predictor(backend), backend.device)
