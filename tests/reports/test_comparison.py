"""The page of `segdeploy compare`: what it shows, and that it loads nothing."""

import re

import numpy as np
import pytest

from segdeploy.arrays import Image, Mask
from segdeploy.card import LabelClass
from segdeploy.metrics.comparison import Comparison, ComparisonImage, compare
from segdeploy.reports.comparison import MAX_WIDTH, to_html

MARKUP = """<script>alert("x")</script>' & {{ title }}"""
CLASSES = (
    LabelClass(name="dark", color=(0, 0, 0)),
    LabelClass(name="<bright>", color=(255, 200, 0)),
)


class Threshold:
    """Predicts "bright" where blue is above a value."""

    def __init__(self, value: int) -> None:
        self.value = value

    def mask(self, image: Image) -> Mask:
        return (image[..., 0] > self.value).astype(np.uint8)


def ramp(count: int, *, name: str = "", columns: int = 10) -> ComparisonImage:
    """Ten columns, the first `count` of them between both thresholds; the labels are all dark."""
    row = np.where(np.arange(columns) < count, 50, 90).astype(np.uint8)
    image = np.broadcast_to(row[None, :, None], (4, columns, 3)).copy()
    labels = np.zeros((4, columns), np.uint8)
    return ComparisonImage(name=name or f"ramp {count}", image=image, labels=labels)


def compared(*images: ComparisonImage) -> Comparison:
    return compare(Threshold(45), Threshold(55), images, classes=2, on_step=lambda _: None)


def page_of(comparison: Comparison, *, first: str = "a.onnx", source: str = "ramps") -> str:
    return to_html(comparison, first=first, second="b.onnx", source=source, classes=CLASSES)


def test_page_loads_nothing_and_has_every_part() -> None:
    """It is opened from an e-mail, offline."""
    page = page_of(compared(ramp(1), ramp(0), ramp(3)))

    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "default-src 'none'" in page
    assert "<h1>b.onnx differs from a.onnx on 13.333% of the pixels</h1>" in page
    assert page.count("<img") == 1 + 4 * 2
    assert re.findall("<h2>([^<]*)</h2>", page) == [
        "By class",
        "Exchanged classes",
        "Where",
        "Most different",
        "By image",
    ]
    # 16 pixels of the second class became the first one.
    assert "<td>16</td>" in page
    assert page.index("<td>ramp 3</td>") < page.index("<td>ramp 1</td>")
    assert 'style="width:120px"' in page


@pytest.mark.parametrize("where", ["first", "source", "image"])
def test_names_are_escaped(where: str) -> None:
    """A file or a folder may have the name of a tag, or of a template's variable."""
    comparison = compared(ramp(3, name=MARKUP if where == "image" else "a"))
    names = {} if where == "image" else {where: MARKUP}

    page = page_of(comparison, **names)

    assert "<script" not in page
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;&#39; &amp; {{ title }}" in page
    assert "&lt;bright&gt;" in page


def test_equal_models_have_a_page_too() -> None:
    """It shows no images and no heat map."""
    equal = compare(Threshold(45), Threshold(45), [ramp(3)], classes=2, on_step=lambda _: None)

    page = page_of(equal)

    assert "<img" not in page
    assert "<h2>Where</h2>" not in page
    assert "on 0.000% of the pixels" in page


def test_wide_images_are_downscaled() -> None:
    """A page of 4K images could not be sent by e-mail."""
    import base64
    from io import BytesIO

    from PIL import Image as PillowImage

    page = page_of(compared(ramp(3, columns=3 * MAX_WIDTH)))

    images = [
        PillowImage.open(BytesIO(base64.b64decode(content)))
        for content in re.findall(r"base64,([^\"]+)", page)
    ]
    assert max(image.width for image in images) == MAX_WIDTH
