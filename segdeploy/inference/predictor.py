"""From images to masks with a loaded network."""

from collections.abc import Sequence
from dataclasses import dataclass

from segdeploy.arrays import Image, Mask, NetworkOutput
from segdeploy.backends.base import Backend
from segdeploy.card import ModelCard
from segdeploy.imaging.io import check_image
from segdeploy.imaging.postprocess import output_to_mask
from segdeploy.imaging.preprocess import to_batch


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a network says of an image.

    Attributes:
        mask: Class of every pixel, (H, W) uint8, of the image's own size.
        output: Output of the network, (1, K, h, w), or (1, H, W) of classes.
    """

    mask: Mask
    output: NetworkOutput


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
            images: Each (H, W, C) of the channels and the type that the network takes, usually
                (H, W, 3) uint8, blue-green-red; of any sizes.

        Raises:
            ImageError: One of them is something else.
        """
        return [prediction.mask for prediction in self.predict(images)]

    def predict(self, images: Sequence[Image]) -> list[Prediction]:
        """Return the masks of images with what the network returned, as `masks` does.

        Args:
            images: Each (H, W, C) of the channels and the type that the network takes, usually
                (H, W, 3) uint8, blue-green-red; of any sizes.

        Raises:
            ImageError: One of them is something else.
        """
        if not images:
            return []
        spec = self.card.input
        for image in images:
            check_image(image, spec)
        output = self._backend.run(to_batch(images, spec))
        outputs = [output[index : index + 1] for index in range(len(images))]
        return [
            Prediction(
                mask=output_to_mask(part, spec, height=image.shape[0], width=image.shape[1]),
                output=part,
            )
            for image, part in zip(images, outputs, strict=True)
        ]
