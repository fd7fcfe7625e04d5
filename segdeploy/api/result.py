"""The result for one image: its mask, and what is drawn, counted and written of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from segdeploy.api.exchange import (
    Region,
    class_areas,
    coco_values,
    labelme_values,
    named_regions,
    region_values,
)
from segdeploy.arrays import Image, Mask, NetworkOutput
from segdeploy.card import LabelClass, ModelCard
from segdeploy.errors import ConfigError, MissingExtraError, ModelError
from segdeploy.imaging.io import write_image, write_indexed
from segdeploy.imaging.overlay import CUTOUT, Painter, Renderer, colorize, side_by_side
from segdeploy.imaging.postprocess import (
    Confidence,
    output_to_confidence,
    output_to_probabilities,
)
from segdeploy.imaging.preprocess import resize
from segdeploy.imaging.render_options import class_indices, read_background
from segdeploy.system.files import write_text
from segdeploy.video.annotations import class_shares, feature_collection

if TYPE_CHECKING:
    import supervision

SHOWN_CLASSES = 3
"""Classes that the text of a result names."""

NOTEBOOK_SIDE = 1024
"""Pixels of the longer side of what a notebook shows."""

KEY_INTERVAL = 50
"""Milliseconds between two polls of the keyboard while a window is shown."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    """An image and its mask.

    Example:
        ```python
        result = net("street.jpg")
        print(result, result.mask.shape, result.shares()["Road"])
        result.save("overlay.png")
        ```

    Attributes:
        image: (H, W, 3) uint8, blue-green-red, upright.
        mask: Class of every pixel, (H, W) uint8; 255 is not labeled.
        classes: Names and colors of the classes, by the mask's values.
        name: File or address of the image; "" for an array and a frame.
        index: Place of the image or the frame in its source, from 0.
        seconds: When the frame is shown, in seconds from the beginning; 0 for an image.
        card: Card of the network; None for a mask without one.
        output: What the network returned for the image, from which `confidence` and
            `probabilities` are computed; None where it was not kept.
    """

    image: Image
    mask: Mask
    classes: tuple[LabelClass, ...]
    name: str = ""
    index: int = 0
    seconds: float = 0.0
    card: ModelCard | None = field(default=None)
    output: NetworkOutput | None = field(default=None)

    def __repr__(self) -> str:
        """Return one line: the image, its size and the largest classes."""
        shares = sorted(self.shares().items(), key=lambda item: -item[1])
        largest = [f"{name} {share:.0%}" for name, share in shares[:SHOWN_CLASSES] if share > 0]
        others = sum(share > 0 for _, share in shares[SHOWN_CLASSES:])
        parts = [*largest, *([f"{others} more"] if others else [])]
        height, width = self.mask.shape
        what = repr(self.name) if self.name else f"{self.index} at {self.seconds:.3f} s"
        return f"Result({what}, {width}x{height}, {', '.join(parts) or 'nothing labeled'})"

    @property
    def picture(self) -> Image:
        """Return `image`, under its name of version 0.1.

        Example: `net("street.jpg").picture`
        """
        return self.image

    @cached_property
    def confidence(self) -> Confidence:
        """Return the probability of each pixel's class, (H, W) uint8, 255 for 1.

        Example: `unsure = result.confidence < 128`

        Raises:
            ModelError: The network returns classes alone, or its output was not kept.
        """
        output, card = self._output()
        height, width = self.mask.shape
        return output_to_confidence(
            output, card.input, kind=card.output, height=height, width=width
        )

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """Return the probability of each class, (K, H, W) float32, computed anew each time.

        It takes 4 K bytes of memory for a pixel.

        Example: `road = result.probabilities[1]`

        Raises:
            ModelError: The network returns classes alone, or its output was not kept.
        """
        output, card = self._output()
        height, width = self.mask.shape
        return output_to_probabilities(
            output, card.input, kind=card.output, height=height, width=width
        )

    def shares(self) -> Mapping[str, float]:
        """Return the share of the pixels that each class has, in [0, 1], by its name.

        Example: `result.shares()["Road"]`
        """
        return class_shares(self.mask, self.classes)

    def areas(self) -> Mapping[str, int]:
        """Return how many pixels each class has, by its name.

        Example: `result.areas()["Car"]`
        """
        return class_areas(self.mask, self.classes)

    def polygons(self) -> list[Region]:
        """Return the outline of every region, with its class, its area and its holes.

        Example: `[(region.name, region.area) for region in result.polygons()]`
        """
        return named_regions(self.mask, self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as values for JSON: size, shares, areas and regions.

        Example: `result.to_dict()["shares"]`
        """
        height, width = self.mask.shape
        return {
            "name": self.name,
            "index": self.index,
            "seconds": round(self.seconds, 6),
            "width": width,
            "height": height,
            "shares": dict(self.shares()),
            "areas": dict(self.areas()),
            "regions": [region_values(region) for region in self.polygons()],
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON.

        Example: `print(result.to_json()[:100])`
        """
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_coco(self, *, as_rle: bool = False) -> dict[str, Any]:
        """Return the values of a COCO file of this image.

        Example: `result.to_coco(as_rle=True)["annotations"][0]["bbox"]`

        Args:
            as_rle: Whether a class is one annotation of run lengths, instead of a polygon for each
                region.
        """
        return coco_values(self.mask, self.classes, name=self.name, index=self.index, as_rle=as_rle)

    def to_geojson(self) -> dict[str, Any]:
        """Return the regions as a GeoJSON FeatureCollection, in pixels.

        Example: `len(result.to_geojson()["features"])`
        """
        return feature_collection(self.mask, self.classes)

    def to_labelme(self) -> dict[str, Any]:
        """Return the values of a labelme file of this image, to correct the mask by hand.

        Example: `result.to_labelme()["shapes"][0]["label"]`
        """
        return labelme_values(self.mask, self.classes, name=self.name)

    def to_supervision(self, *, min_area: int = 1) -> "supervision.Detections":
        """Return the regions as `Detections` of the library supervision.

        Each has a mask of the image's size, so that a noisy mask takes much memory.

        Example: `detections = result.to_supervision(min_area=100)`

        Args:
            min_area: Regions of fewer pixels are left out.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        try:
            from segdeploy.api.detections import to_detections
        except ModuleNotFoundError as error:
            if error.name != "supervision":
                raise
            raise MissingExtraError(error.name, "supervision") from error
        has_scores = self.output is not None and self.card and self.card.output != "classes"
        return to_detections(
            self.mask,
            [entry.name for entry in self.classes],
            confidence=self.confidence if has_scores else None,
            min_area=min_area,
        )

    def overlay(
        self, *, opacity: float = 0.5, legend: bool = True, contours: bool = False
    ) -> Image:
        """Return the image with the colors of the classes over it, (H, W, 3) uint8, BGR.

        Example: `result.overlay(opacity=0.3, legend=False)`

        Args:
            opacity: Opacity of the colors, in [0, 1].
            legend: Whether the names of the classes are drawn in the corner.
            contours: Whether the edges of the regions are drawn in the full colors.

        Raises:
            ConfigError: The opacity is outside [0, 1].
        """
        painter = Painter(self.classes, opacity=opacity, legend=legend, contours=contours)
        return painter.paint(self.image, self.mask)

    def color_mask(self) -> Image:
        """Return the mask in the colors of its classes, (H, W, 3) uint8, BGR.

        Example: `result.color_mask()`
        """
        return colorize(self.mask, self.classes)

    def side_by_side(self) -> Image:
        """Return the image and its overlay beside it, (H, 2 W, 3) uint8, BGR.

        Example: `result.side_by_side()`
        """
        return side_by_side(self.image, self.overlay())

    def cutout(self, *classes: str, background: str | Path | Image | None = None) -> Image:
        """Return the pixels of some classes alone.

        Example: `result.cutout("Road", "Car", background="00ff00")`

        Args:
            classes: Names of the classes, at least one.
            background: What is behind them: a color such as "00ff00", an image or its path;
                transparent where None.

        Returns:
            (H, W, 4) uint8 with opacity behind blue-green-red; (H, W, 3) before a background.

        Raises:
            ConfigError: No class is named, or one that the network does not have.
            DataError: The background cannot be read.
        """
        if not classes:
            msg = 'a cutout needs its classes; name them, for example cutout("car", "person")'
            raise ConfigError(msg)
        if isinstance(background, str | Path):
            background = read_background(str(background))
        indices = class_indices(classes, self.classes)
        renderer = Renderer(self.classes, (CUTOUT,), only=indices, background=background)
        return renderer.draw(self.image, renderer.select(self.mask))[CUTOUT]

    def save(self, path: Path | str) -> None:
        """Write the overlay; the suffix, .png or .jpg, decides the format.

        Example: `result.save("overlay.jpg")`

        Raises:
            ConfigError: The name ends in something else; so for the methods below.
            OutputError: It cannot be written; so for the methods below.
        """
        write_image(Path(path), self.overlay())

    def save_mask(self, path: Path | str) -> None:
        """Write the mask as a gray image of class indices, .png.

        Example: `result.save_mask("mask.png")`
        """
        write_image(Path(path), self.mask)

    def save_color(self, path: Path | str) -> None:
        """Write the mask as a .png of class indices that viewers show in the classes' colors.

        Example: `result.save_color("color.png")`
        """
        if Path(path).suffix.lower() != ".png":
            msg = f"cannot write {path}; its name must end in .png"
            raise ConfigError(msg)
        write_indexed(Path(path), self.mask, [entry.color for entry in self.classes])

    def save_confidence(self, path: Path | str) -> None:
        """Write the confidence as a gray image, .png.

        Example: `result.save_confidence("confidence.png")`
        """
        write_image(Path(path), self.confidence)

    def save_side_by_side(self, path: Path | str) -> None:
        """Write the image and its overlay beside it, .png or .jpg.

        Example: `result.save_side_by_side("side.jpg")`
        """
        write_image(Path(path), self.side_by_side())

    def save_cutout(self, path: Path | str, *classes: str) -> None:
        """Write the pixels of some classes before nothing, .png.

        Example: `result.save_cutout("cars.png", "Car")`
        """
        write_image(Path(path), self.cutout(*classes))

    def save_json(self, path: Path | str) -> None:
        """Write `to_dict` as JSON.

        Example: `result.save_json("street.json")`
        """
        write_text(Path(path), self.to_json())

    def save_coco(self, path: Path | str, *, as_rle: bool = False) -> None:
        """Write `to_coco` as JSON.

        Example: `result.save_coco("coco.json")`
        """
        write_text(Path(path), json.dumps(self.to_coco(as_rle=as_rle), ensure_ascii=False))

    def save_geojson(self, path: Path | str) -> None:
        """Write `to_geojson` as JSON.

        Example: `result.save_geojson("street.geojson")`
        """
        write_text(Path(path), json.dumps(self.to_geojson(), ensure_ascii=False))

    def save_labelme(self, path: Path | str) -> None:
        """Write `to_labelme` as JSON.

        Example: `result.save_labelme("street-labelme.json")`
        """
        write_text(Path(path), json.dumps(self.to_labelme(), ensure_ascii=False))

    def show(self) -> None:
        """Show the overlay in a window until a key is pressed or it is closed.

        Example: `result.show()`

        Raises:
            OutputError: There is no screen.
        """
        # Only this needs a window.
        from segdeploy.video.viewer import ScreenWindow

        window = ScreenWindow()
        try:
            window.show(self.overlay())
            while not window.key(KEY_INTERVAL):
                pass
        finally:
            window.close()

    def _repr_png_(self) -> bytes:
        """Return the overlay as PNG, at most 1024 pixels long, which notebooks show."""
        overlay = self.overlay()
        height, width = overlay.shape[:2]
        scale = min(1.0, NOTEBOOK_SIDE / max(height, width))
        small = resize(overlay, max(1, round(height * scale)), width=max(1, round(width * scale)))
        return bytes(cv2.imencode(".png", small)[1])

    def _output(self) -> tuple[NetworkOutput, ModelCard]:
        if self.output is None or self.card is None:
            msg = (
                "the network's output was not kept with this result, as of a smoothed video; call"
                " the network with its image"
            )
            raise ModelError(msg)
        return self.output, self.card
