"""The page of `segdeploy compare`: where two models differ over a set of images."""

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from segdeploy.arrays import Image
from segdeploy.card import LabelClass
from segdeploy.imaging.io import to_jpeg
from segdeploy.imaging.overlay import Painter
from segdeploy.imaging.preprocess import resize
from segdeploy.metrics.comparison import (
    ComparedImage,
    Comparison,
    difference_density,
    paint_density,
)
from segdeploy.reports.html import render

MAX_WIDTH = 480
"""Largest width of an image on the page, in pixels."""

MOST_EXCHANGES = 10
"""How many pairs of exchanged classes are listed."""

BAR = 120
"""Length of the longest bar, in pixels."""

QUALITY = 85
"""Quality of the JPEGs."""


def to_html(
    comparison: Comparison,
    *,
    first: str,
    second: str,
    source: str,
    classes: Sequence[LabelClass],
) -> str:
    """Return the page.

    Args:
        comparison: How the two models differ.
        first: Name of the reference model.
        second: Name of the other one.
        source: What the images are, for example "camvid val".
        classes: Classes in channel order.
    """
    facts = [
        f"{len(comparison.by_image)} images of {source}",
        f"{comparison.near_boundaries:.3%} within 3 pixels of a boundary",
    ]
    if comparison.scores is not None:
        first_scores, second_scores = comparison.scores
        facts.append(f"mIoU {first_scores.miou:.2%} and {second_scores.miou:.2%}")
    painter = Painter(classes, opacity=0.6, legend=False)
    return render(
        "comparison.html.j2",
        title=f"{second} differs from {first} on {comparison.differing:.3%} of the pixels",
        facts=facts,
        classes=_class_rows(comparison, classes),
        exchanged=_exchanged_rows(comparison, classes),
        heat_map=_heat_map(comparison),
        worst=[_worst_entry(shown, painter) for shown in comparison.worst],
        images=_image_rows(comparison),
    )


def _class_rows(
    comparison: Comparison, classes: Sequence[LabelClass]
) -> list[tuple[LabelClass, dict[str, Any]]]:
    most = max(share or 0 for share in comparison.by_class)
    return [
        (label, _bar(share, most))
        for label, share in zip(classes, comparison.by_class, strict=True)
        if share is not None
    ]


def _exchanged_rows(
    comparison: Comparison, classes: Sequence[LabelClass]
) -> list[tuple[LabelClass, LabelClass, str]]:
    counts = comparison.exchanged.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST_EXCHANGES]
    pairs = [divmod(int(cell), len(classes)) for cell in order if counts.flat[cell]]
    return [
        (classes[first], classes[second], f"{counts[first, second]:,}") for first, second in pairs
    ]


def _image_rows(comparison: Comparison) -> list[tuple[str, dict[str, Any]]]:
    most = max(share for _, share in comparison.by_image)
    ordered = sorted(comparison.by_image, key=lambda pair: -pair[1])
    return [(name, _bar(share, most)) for name, share in ordered]


def _heat_map(comparison: Comparison) -> dict[str, str] | None:
    hottest = float(comparison.heat_map.max())
    if not hottest:
        return None
    return {
        "hint": f"All images together; at the brightest point {hottest:.2%} of them differ.",
        "image": _embedded(paint_density(comparison.heat_map, hottest=hottest)),
    }


def _worst_entry(shown: ComparedImage, painter: Painter) -> dict[str, Any]:
    image = shown.source.image
    density = difference_density(shown.first, shown.second)
    heat = paint_density(density, hottest=float(density.max()))
    blended = np.asarray(cv2.addWeighted(image, 0.35, heat, 0.9, 0), dtype=np.uint8)
    masks = [painter.paint(image, mask) for mask in (shown.first, shown.second)]
    return {
        "name": shown.source.name,
        "differing": f"{shown.differing:.3%}",
        "images": [_embedded(content) for content in (image, *masks, blended)],
    }


def _bar(share: float, most: float) -> dict[str, Any]:
    return {"width": round(BAR * share / most) if most else 0, "text": f"{share:.3%}"}


def _embedded(image: Image) -> str:
    """Return an image as base64 of a JPEG no wider than `MAX_WIDTH`."""
    height, width = image.shape[:2]
    shown = min(MAX_WIDTH, width)
    resized = resize(image, max(1, round(height * shown / width)), width=shown)
    return base64.b64encode(to_jpeg(resized, quality=QUALITY)).decode()
