"""One call from a picture to its mask: what a script or a notebook needs."""

from dataclasses import dataclass
from pathlib import Path

from segdeploy.backends.loading import load_backend
from segdeploy.box import locate
from segdeploy.card import LabelClass, ModelCard
from segdeploy.overlay import Painter
from segdeploy.pictures import Picture, read_picture, write_picture
from segdeploy.polygons import Polygon, polygons
from segdeploy.predictor import Predictor
from segdeploy.scores import Mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """A picture and its mask.

    Attributes:
        picture: (H, W, 3) uint8, blue-green-red.
        mask: Class of every pixel, (H, W) uint8.
        classes: What the mask's indices mean.
    """

    picture: Picture
    mask: Mask
    classes: tuple[LabelClass, ...]

    def overlay(self, *, opacity: float = 0.5, legend: bool = True) -> Picture:
        """Give the picture with the classes' colors over it, (H, W, 3) uint8 blue-green-red.

        Args:
            opacity: Share of the colors, in [0, 1].
            legend: Whether the classes' names stand in the corner.
        """
        return Painter(self.classes, opacity=opacity, legend=legend).paint(self.picture, self.mask)

    def polygons(self) -> list[Polygon]:
        """Give the outline of every region, with its class and its holes."""
        return polygons(self.mask, len(self.classes))

    def save(self, path: Path | str) -> None:
        """Write the overlay; the ending tells the format.

        Raises:
            OutputError: It cannot be written.
        """
        write_picture(Path(path), self.overlay())

    def save_mask(self, path: Path | str) -> None:
        """Write the mask as grey values, the index of a class each; .png keeps them.

        Raises:
            OutputError: It cannot be written.
        """
        write_picture(Path(path), self.mask)


class Network:
    """A loaded network that is called with pictures."""

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

    def __call__(self, image: Picture | Path | str) -> Result:
        """Segment one picture at its own size.

        Args:
            image: (H, W, 3) uint8, blue-green-red as OpenCV reads it, or the path of a picture.

        Raises:
            DataError: The path names no picture, or the array is none.
        """
        picture = read_picture(Path(image)) if isinstance(image, Path | str) else image
        return Result(picture=picture, mask=self._predictor.mask(picture), classes=self.card.classes)


def load(path: Path | str, *, device: str = "auto", threads: int | None = None) -> Network:
    """Load an artifact of any kind, for example `segdeploy.load("best.onnx")("street.jpg").overlay()`.

    Args:
        path: What `segdeploy train` or `segdeploy export` wrote, or "street" or "street-int8", which the package carries.
        device: "auto", "cpu", "cuda" or "cuda:n"; what was granted is in `.device`.
        threads: Threads of one operation; all allowed cores where None.

    Raises:
        ModelError: The file is missing, of an unknown kind, or damaged.
        DeviceError: The device was asked for and not granted.
        MissingExtraError: The runtime's library is not installed.
    """
    backend = load_backend(locate(path), device=device, threads=threads)
    return Network(Predictor(backend), backend.device)
