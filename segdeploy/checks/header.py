"""What a picture's file says of itself, without a pixel decoded."""

from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image

from segdeploy.pictures import DAMAGE

SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations that make rows of columns."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The beginning of a picture's file.

    Attributes:
        form: Pillow's name of the format, for example "PNG".
        mode: Pillow's name of the kind of pixels, for example "RGB", "L" for grey, "P" for a palette.
        height: Height of the stored pixels.
        width: Width of the stored pixels.
        orientation: How EXIF says that they are turned, 1 for not at all, to 8.
    """

    form: str
    mode: str
    height: int
    width: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the picture as it is seen."""
        return (self.width, self.height) if self.orientation in SIDEWAYS else (self.height, self.width)


def read_header(path: Path) -> Header | None:
    """Read the beginning of a file; None where it is no picture."""
    try:
        with Image.open(path) as image:
            # Pillow decodes a whole PNG in search of EXIF behind the pixels, where none is.
            has_exif = image.format != "PNG" or "exif" in image.info
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if has_exif else 1
            width, height = image.size
            return Header(form=image.format or "", mode=image.mode, height=height, width=width, orientation=int(orientation))
    except DAMAGE:
        return None
