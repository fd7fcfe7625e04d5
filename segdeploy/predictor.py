"""Pictures in, masks out."""

from collections.abc import Sequence

from segdeploy.backends.base import Backend
from segdeploy.card import ModelCard
from segdeploy.pictures import Picture, check_picture
from segdeploy.pixels import answer_mask, to_batch
from segdeploy.scores import Mask


class Predictor:
    """A loaded network together with the way of a picture into it and of its mask out of it."""

    def __init__(self, backend: Backend) -> None:
        """Wrap a loaded network.

        Args:
            backend: What answers batches of pictures.
        """
        self._backend = backend

    @property
    def card(self) -> ModelCard:
        """The card of the network."""
        return self._backend.card

    def mask(self, picture: Picture) -> Mask:
        """Give the class of every pixel of one picture, (H, W) uint8, at the picture's own size; see `masks`."""
        return self.masks([picture])[0]

    def masks(self, pictures: Sequence[Picture]) -> list[Mask]:
        """Give the masks of pictures of any sizes, each at its picture's own size, with one call of the network.

        Args:
            pictures: (H, W, 3) uint8 each, blue-green-red.

        Raises:
            DataError: One is something else.
        """
        if not pictures:
            return []
        for picture in pictures:
            check_picture(picture)
        spec = self.card.input
        answers = self._backend.run(to_batch(pictures, spec))
        sizes = [picture.shape[:2] for picture in pictures]
        return [answer_mask(answers[n : n + 1], spec, height=height, width=width) for n, (height, width) in enumerate(sizes)]
