"""From images to masks with a loaded network; `segdeploy.load` and its result."""

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
    """A loaded network with its preprocessing and postprocessing.

    Example:
        ```python
        predictor = Predictor(load_backend(Path("best.onnx")))
        mask = predictor.mask(cv2.imread("street.jpg"))
        ```
    """

    def __init__(self, backend: Backend) -> None:
        """Wrap a loaded network.

        Args:
            backend: Runs batches of images.
        """
        self._backend = backend

    @property
    def card(self) -> ModelCard:
        """Return the card of the network."""
        return self._backend.card

    def mask(self, image: Image) -> Mask:
        """Return the mask of one image, (H, W) uint8, of the image's own size; see `masks`."""
        return self.masks([image])[0]

    def masks(self, images: Sequence[Image]) -> list[Mask]:
        """Return the masks of images, each of its image's own size, in one call of the network.

        Args:
            images: (H, W, 3) uint8 each, blue-green-red, of any sizes.

        Raises:
            DataError: One of them is something else.
        """
        if not images:
            return []
        for image in images:
            check_image(image)
        spec = self.card.input
        output = self._backend.run(to_batch(images, spec))
        return [
            output_to_mask(
                output[index : index + 1], spec, height=image.shape[0], width=image.shape[1]
            )
            for index, image in enumerate(images)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """An image and its mask.

    Example:
        ```python
        result = segdeploy.load("street")("street.jpg")
        result.save("overlay.png")
        ```

    Attributes:
        image: (H, W, 3) uint8, blue-green-red.
        mask: Class of every pixel, (H, W) uint8.
        classes: Names and colors of the classes, by the mask's values.
    """

    image: Image
    mask: Mask
    classes: tuple[LabelClass, ...]

    @property
    def picture(self) -> Image:
        """Return `image`, under its name of version 0.1."""
        return self.image

    def overlay(self, *, opacity: float = 0.5, legend: bool = True) -> Image:
        """Return the image with the colors of the classes over it, (H, W, 3) uint8, BGR.

        Args:
            opacity: Opacity of the colors, in [0, 1].
            legend: Whether the names of the classes are drawn in the corner.
        """
        return Painter(self.classes, opacity=opacity, legend=legend).paint(self.image, self.mask)

    def polygons(self) -> list[Polygon]:
        """Return the outline of every region, with its class and its holes."""
        return polygons(self.mask, len(self.classes))

    def save(self, path: Path | str) -> None:
        """Write the overlay; the suffix decides the format.

        Raises:
            OutputError: It cannot be written.
        """
        write_image(Path(path), self.overlay())

    def save_mask(self, path: Path | str) -> None:
        """Write the mask as a grayscale image of class indices; use .png, which is lossless.

        Raises:
            OutputError: It cannot be written.
        """
        write_image(Path(path), self.mask)


class Network:
    """A loaded network that is called with images; `load` returns it.

    Attributes:
        device: Runtime and device in use.
    """

    def __init__(self, predictor: Predictor, device: str) -> None:
        """Wrap a predictor.

        Args:
            predictor: Returns masks.
            device: Runtime and device in use.
        """
        self._predictor = predictor
        self.device = device

    @property
    def card(self) -> ModelCard:
        """Return the card of the network: classes, input, training, parity."""
        return self._predictor.card

    def __call__(self, image: Image | Path | str) -> Result:
        """Segment one image at its own size.

        Args:
            image: (H, W, 3) uint8, blue-green-red as OpenCV reads it, or the path of an image.

        Raises:
            DataError: There is no image at the path, or the array is not an image.
        """
        pixels = read_image(Path(image)) if isinstance(image, Path | str) else image
        mask = self._predictor.mask(pixels)
        return Result(image=pixels, mask=mask, classes=self.card.classes)


def load(
    path: Path | str, *, device: str = "auto", threads: int | None = None, trust: bool = False
) -> Network:
    """Load an artifact of any kind.

    Example:
        ```python
        network = segdeploy.load("best.onnx")
        network("street.jpg").save("overlay.png")
        ```

    Args:
        path: A file that `segdeploy train` or `segdeploy export` wrote, or "street" or
            "street-int8", the bundled models.
        device: "auto", "cpu", "cuda" or "cuda:n"; `.device` names the device in use.
        threads: Threads of one operator; all cores that the process may use where None.
        trust: Whether a TorchScript or .pt2 file is loaded as it is, also with operators that run
            code or write files.

    Raises:
        ModelError: The file is missing, of an unknown kind, or damaged.
        UntrustedError: A TorchScript or .pt2 file holds more than a network needs.
        DeviceError: The device is not available.
        MissingExtraError: The runtime's library is not installed.
    """
    backend = load_backend(locate(path), device=device, threads=threads, trust=trust)
    return Network(Predictor(backend), backend.device)
